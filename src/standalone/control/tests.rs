use super::*;
use crate::admin::Readiness;
use crate::bus::Servers;
use crate::settings::Settings;
use crate::standalone::data_dir::DataDir;
use crate::standalone::folder::{Object, objects};
use crate::standalone::server::{PrivateServer, ServerOptions};
use std::path::Path;
use tokio::time::Instant;

/// Longest wait for something that must happen.
const SOON: Duration = Duration::from_secs(20);

const SECRET: &str = "---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: shop, labels: {posthorn.dev/allow: 'true'}}
stringData: {token: canary}
";

fn destination(name: &str, path: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  sink: {{http: {{uri: 'https://receiver.example/{path}', auth: {{bearer: {{secretKeyRef: {{name: token, key: token}}}}}}}}}}\n{rest}"
    )
}

/// A folder with this text, as it is taken to be.
fn contents(text: &str, complete: bool) -> Arc<Contents> {
    let file = objects::parse("x.yaml", text, 0, &Settings::default());
    assert_eq!(file.problems, []);
    let objects: BTreeMap<_, Object> = file.objects.into_iter().map(|found| (found.key, found.object)).collect();
    Arc::new(Contents { objects, complete })
}

/// A real Redis, and a control that writes a folder to it.
struct World {
    links: Links,
    server: PrivateServer,
    folder: watch::Sender<Arc<Contents>>,
    plans: Plans,
    shutdown: Shutdown,
}

impl World {
    async fn start(base: &Path, text: &str) -> World {
        let shutdown = Shutdown::new();
        let server = PrivateServer::start(base, ServerOptions::default(), &shutdown).await.expect("redis-server is installed");
        let url = server.url().parse().expect("it is a URL");
        let links = Servers::new(&url, &Settings::default()).expect("one address").connect("test");
        let data_dir = DataDir::open(base).expect("nobody holds it");
        let (folder, receiver) = watch::channel(contents(text, true));
        let (identity, records) = (Identity::load(&data_dir).expect("writable"), Records::load(&data_dir).expect("readable"));
        let (control, plans) = Control::new(
            links.clone(),
            Arc::default(),
            identity,
            (records, KeptPlans::of(&data_dir)),
            receiver,
            Readiness::default().gate("destinations"),
        );
        tokio::spawn(control.run(shutdown.clone()));
        World { links, server, folder, plans, shutdown }
    }

    /// Waits until the plans are as wanted.
    async fn plans(&mut self, wanted: impl Fn(&BTreeMap<String, Arc<Plan>>) -> bool) -> Arc<BTreeMap<String, Arc<Plan>>> {
        let found = tokio::time::timeout(SOON, self.plans.wait_for(|plans| wanted(plans))).await;
        Arc::clone(&found.expect("it happens soon").expect("the control runs"))
    }

    /// Waits until the routes are as wanted; returns them with the names.
    async fn routes(&self, wanted: impl Fn(&Held) -> bool) -> Held {
        let begin = Instant::now();
        loop {
            let link = self.links.of("default").link().await;
            if let (Ok(names), Ok(routes)) = (routing::names(&link, "default").await, routing::routes(&link, "default").await) {
                let held = Held { names, routes };
                if wanted(&held) {
                    return held;
                }
                assert!(begin.elapsed() < SOON, "{held:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) {
        self.shutdown.begin();
        self.server.stop().await.expect("it ends");
    }
}

#[tokio::test]
async fn a_folder_becomes_routes_and_plans_and_follows_its_changes() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let mut world = World::start(base.path(), &(SECRET.to_owned() + &destination("a", "1", "") + &destination("b", "1", ""))).await;
    let plans = world.plans(|plans| plans.len() == 2).await;
    let held = world.routes(|held| held.routes.len() == 2).await;
    let uid = held.names["shop/a"].clone();
    assert_eq!((held.routes[&uid].rev, plans[&uid].name.as_str()), (1, "a"));
    assert!(!serde_json::to_string(&held.routes).expect("JSON").contains("canary"));

    // Another address: the route and the plan change, the UID stays.
    world.folder.send_replace(contents(&(SECRET.to_owned() + &destination("a", "2", "") + &destination("b", "1", "")), true));
    let changed = world.plans(|now| now[&uid].id != plans[&uid].id).await;
    assert_eq!(changed[&held.names["shop/b"]], plans[&held.names["shop/b"]]);
    let held = world.routes(|held| held.routes[&uid].rev == 2).await;
    assert_eq!(held.routes[&uid].sink_uri, "https://receiver.example/2");

    // A Secret that is gone: nothing is sent, the route stays. A new value: the plan changes.
    world.folder.send_replace(contents(&(destination("a", "2", "") + &destination("b", "1", "")), true));
    world.plans(BTreeMap::is_empty).await;
    let rotated = SECRET.replace("canary", "other") + &destination("a", "2", "") + &destination("b", "1", "");
    world.folder.send_replace(contents(&rotated, true));
    let back = world.plans(|plans| plans.len() == 2).await;
    assert_ne!(back[&uid].id, changed[&uid].id);

    // Missing from a folder that is not to be believed: kept. From one that is: deleted.
    world.folder.send_replace(contents(&(SECRET.to_owned() + &destination("b", "1", "")), false));
    world.plans(|plans| plans.len() == 1).await;
    assert_eq!(world.routes(|_| true).await.names.len(), 2);
    world.folder.send_replace(contents(&(SECRET.to_owned() + &destination("b", "1", "")), true));
    world.routes(|held| held.names.len() == 1).await;
    world.stop().await;
}

#[tokio::test]
async fn what_redis_lost_is_made_again_where_it_began() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let text = SECRET.to_owned() + &destination("a", "1", "");
    let world = World::start(base.path(), &text).await;
    let before = world.routes(|held| held.routes.len() == 1 && held.names.len() == 1).await;
    world.stop().await;
    std::fs::remove_dir_all(base.path().join("redis")).expect("it is there");

    let world = World::start(base.path(), &text).await;
    let after = world.routes(|held| held.routes.len() == 1 && held.names.len() == 1).await;
    assert_eq!((&after.names, &after.routes), (&before.names, &before.routes));

    world.server.command(&["FLUSHALL"]).await;
    let after = world.routes(|held| held.routes.len() == 1 && held.names.len() == 1).await;
    assert_eq!((after.names, after.routes), (before.names, before.routes));
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_changed_keeps_its_plan() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let mut world = World::start(base.path(), &(SECRET.to_owned() + &destination("a", "1", ""))).await;
    let plans = world.plans(|plans| plans.len() == 1).await;
    let earliest = SECRET.to_owned() + &destination("a", "2", "  startFrom: Earliest\n") + &destination("b", "1", "");
    world.folder.send_replace(contents(&earliest, true));
    let after = world.plans(|plans| plans.len() == 2).await;
    assert!(plans.iter().all(|(uid, plan)| after[uid] == *plan));
    world.stop().await;
}
