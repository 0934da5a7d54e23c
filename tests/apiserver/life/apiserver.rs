//! The API server goes and comes: events do not care, and the operator finds its way back without a restart.

use super::{PATIENCE, looks, readiness};
use crate::support::it::Client;
use crate::support::it::client::Post;
use crate::support::it::eventually::{eventually_within, holds};
use crate::support::it::pieces::metric;
use crate::support::world::{OPERATOR, World};
use crate::support::{History, Posthorn};
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;
use std::collections::BTreeMap;

/// What an operator warned of, and how often; without what differs from time to time.
fn warnings(operator: &Posthorn) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for line in operator.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")) {
        let text = line.split_once(": ").map_or(line, |(_, text)| text);
        let place = text.split(" error=").next().unwrap_or(text);
        *told.entry(place.to_owned()).or_default() += 1;
    }
    told
}

async fn post(client: &mut Client, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_without_an_api_server_and_statuses_are_right_when_it_is_back() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let names: Vec<String> = (0..6).map(|number| format!("destination-{number}")).collect();
    for name in &names {
        world.apply(name, &format!("{}{name}", receiver.url()), "isolation: Shared");
    }
    world.apply("alone", &format!("{}alone", receiver.url()), "isolation: Dedicated");
    for name in names.iter().map(String::as_str).chain(["alone"]) {
        world.ready(name).await;
    }
    let (uid, admin) = (world.uid("alone"), world.admin().await);
    let worker = world.object("alone")["status"]["worker"]["name"].as_str().unwrap().to_owned();
    let mut client = world.post(1..=5).await;

    world.cluster.kill9();
    post(&mut client, 6..=10).await;
    world.delivered_by(&uid, 10).await;
    // a worker that is started again has nothing but its mounted Secret
    world.kubelet.kill_worker(&worker);
    post(&mut client, 11..=20).await;
    world.delivered_by(&uid, 20).await;
    eventually_within(PATIENCE, "it does not lead any more", async || {
        let leads = metric(admin, "posthorn_operator_leader").await;
        holds(leads == 0.0, || world.operator.log())
    })
    .await;
    assert!(!readiness(admin, "[-]lease: waiting for the lease: ").await);
    looks(admin, 7).await;

    let mark = world.cluster.mark();
    world.cluster.resume().await;
    for name in names.iter().map(String::as_str).chain(["alone"]) {
        world.status(name, "delivered", &json!(20)).await;
    }
    assert!(readiness(admin, "[+]lease ok: leading").await);
    world.apply("late", &format!("{}late", receiver.url()), "isolation: Shared");
    world.ready("late").await;
    post(&mut client, 21..=25).await;
    world.delivered("alone", 25).await;
    let log: Vec<_> = receiver.log().into_iter().filter(|seen| seen.path == "/alone").collect();
    let stored = world.stored("alone");
    // the event that was under way when its worker was killed may come twice
    History { repeats: 1, ..History::strict("alone", &client.accepted, &log, &stored) }.assert_kept();

    let warnings = warnings(&world.operator);
    assert!(warnings.values().all(|count| *count <= 2), "{warnings:#?}\n{}", world.operator.log());
    let requests = world.cluster.requests_since(mark);
    let asked = requests.iter().filter(|request| request.user() == OPERATOR && request.resource() != "leases").count();
    assert!(asked < 100, "{asked} requests: {:#?}", requests.iter().map(|request| &request.uri).collect::<Vec<_>>());
    assert!(world.operator.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_hangs_for_longer_than_the_lease_leads_to_no_restart_and_nothing_is_forgotten() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("billing", &receiver.url(), "isolation: Shared");
    world.ready("billing").await;
    let (uid, admin) = (world.uid("billing"), world.admin().await);
    world.cluster.freeze();
    assert!(!readiness(admin, "[-]lease: waiting for the lease: ").await);
    // its turn to be reconciled comes while nobody leads
    let link = world.pieces.link().await;
    posthorn::bus::routing::delete(&link, "default", &uid, "shop/billing").await.unwrap();
    looks(admin, 2).await;
    assert!(world.snapshot(&uid).await.route.is_none(), "who does not lead writes nothing");
    world.cluster.thaw();
    assert!(readiness(admin, "[+]lease ok: leading").await);
    eventually_within(PATIENCE, "its route is made again", async || {
        holds(world.snapshot(&uid).await.route.is_some(), || world.operator.log())
    })
    .await;
    world.ready("billing").await;
    world.apply("late", &receiver.url(), "isolation: Shared");
    world.ready("late").await;
    assert!(world.operator.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_restarted_again_and_again_is_followed() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("billing", &receiver.url(), "isolation: Shared");
    world.ready("billing").await;
    for filter in ["com.", "com.e", "com.ex"] {
        world.cluster.restart().await;
        world.apply("billing", &receiver.url(), &format!("isolation: Shared, filters: [{{prefix: {{type: {filter}}}}}]"));
        world.ready("billing").await;
    }
    let warnings = warnings(&world.operator);
    assert!(warnings.values().all(|count| *count <= 4), "{warnings:#?}\n{}", world.operator.log());
    assert!(world.operator.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_someone_else_wrote_is_right_again_after_the_next_change() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("billing", &receiver.url(), "isolation: Shared");
    world.ready("billing").await;
    let claim = json!({"apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination", "metadata": {"name": "billing", "namespace": "shop"},
        "status": {"delivered": 999, "conditions": [{"type": "Ready", "status": "False", "reason": "Claimed", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let args = ["apply", "--server-side", "--subresource=status", "--force-conflicts", "--field-manager=someone", "-f", "-"];
    let output = world.cluster.kubectl_with(&world.cluster.admin(), &args, &claim.to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.status("billing", "delivered", &json!(999)).await;
    world.post(1..=3).await;
    world.status("billing", "delivered", &json!(3)).await;
    world.ready("billing").await;
}
