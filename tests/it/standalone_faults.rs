//! A standalone in trouble: killed, doubled, with a folder that is not what it should be.

use crate::support::client::{Client, Post, get};
use crate::support::eventually::holds;
use crate::support::home::{Home, destination};
use crate::support::load::{Load, Shape};
use crate::support::process::ready;
use crate::support::{History, Posthorn, eventually};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// A receiver that refuses for now, so that a backlog builds up.
async fn refusing() -> Receiver {
    Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap()
}

/// UIDs by name.
fn names(home: &Home) -> String {
    home.redis().cli(&["HGETALL", "ph:{default}:names"])
}

/// Waits for the backlog of a destination.
async fn owes(home: &Home, name: &str, count: usize) {
    eventually(&format!("{name} owes {count}"), async || {
        let queued = home.stored(name).queued.len();
        holds(queued == count, || format!("{queued}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_or_without_its_redis_it_goes_on_where_it_was() {
    let (slow, fine) =
        (Receiver::start(Behaviour::every(10, Answer::Status(503))).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    let mut home = Home::with(&(destination("slow", &slow.url(), "") + &destination("fine", &fine.url(), "")));
    let mut standalone = home.start(&[]).await;
    let load = Load::start(standalone.addr, Shape { clients: 4, ..Shape::default() });
    load.more(30).await;
    let uids = names(&home);
    // Its redis-server is left behind and adopted.
    let server = home.redis().cli(&["INFO", "server"]);
    standalone.process.kill9();
    standalone = home.start(&[]).await;
    load.more(30).await;
    let run_id = |info: &str| info.lines().find(|line| line.starts_with("run_id")).unwrap().to_owned();
    assert_eq!(run_id(&home.redis().cli(&["INFO", "server"])), run_id(&server), "the same server");
    // The redis-server alone is started again.
    home.kill9_redis();
    load.more(30).await;
    assert!(standalone.process.runs());
    // Both at once.
    standalone.process.kill9();
    home.kill9_redis();
    standalone = home.start(&[]).await;
    load.more(30).await;
    // And in good order, the redis-server too.
    assert!(standalone.process.terminate().await.success());
    assert!(home.redis().connection().is_err());
    let _standalone = home.start(&[]).await;
    load.more(30).await;
    let posted = load.stop().await;
    assert_eq!(names(&home), uids, "the destinations are the same");
    for (name, receiver) in [("slow", &slow), ("fine", &fine)] {
        let (stored, log) = (home.settled(name).await, receiver.log());
        let history = History::strict(name, &posted.accepted, &log, &stored);
        History { uncertain: &posted.uncertain, repeats: 4, ..history }.assert_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_typing_error_nor_an_emptied_folder_nor_a_half_saved_file_deletes_a_backlog() {
    let receiver = refusing().await;
    let (one, two) = (destination("one", &receiver.url(), ""), destination("two", &receiver.url(), ""));
    let mut home = Home::new();
    home.write("one.yaml", &one);
    home.write("two.yaml", &two);
    let mut standalone = home.start(&[]).await;
    let mut client = Client::new(standalone.addr);
    for number in 0..5 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    owes(&home, "two", 5).await;
    let uids = names(&home);
    let count = |process: &Posthorn, text: &str| process.log().matches(text).count();

    // Each state of the folder is seen for longer than it takes to delete what is missing.
    let kept = "nothing is deleted while the folder is empty or a file in it is bad";
    let bad = "bad file; what was good of it stays";
    type Change<'a> = (&'a str, &'a dyn Fn(), &'a str);
    let cases: [Change<'_>; 6] = [
        ("a typing error", &|| home.write("two.yaml", &two.replace("timeout", "timeuot")), bad),
        ("a half-saved file", &|| std::fs::write(home.folder().join("two.yaml"), &two[..two.len() / 2]).unwrap(), bad),
        ("an empty file", &|| home.write("two.yaml", ""), bad),
        ("a wrong indent", &|| home.write("two.yaml", &two.replace("  sink:", " sink:")), bad),
        (
            "a missing file beside a bad one",
            &|| {
                home.remove("two.yaml");
                home.write("one.yaml", "{");
            },
            kept,
        ),
        ("an emptied folder", &|| home.remove("one.yaml"), kept),
    ];
    for (what, change, said) in cases {
        let before = count(&standalone.process, said);
        change();
        eventually(&format!("{what} is told"), async || holds(count(&standalone.process, said) > before, || standalone.process.log()))
            .await;
        // A change elsewhere is followed meanwhile: the folder was looked at twice since.
        for _ in 0..3 {
            let looks = std::time::Instant::now();
            eventually("another look", async || holds(looks.elapsed().as_millis() > 1100, || "not yet".into())).await;
        }
        assert_eq!(names(&home), uids, "{what}");
        assert_eq!(home.stored("two").queued.len(), 5, "{what}");
    }

    // The same at a start, when nothing is known of the folder from before.
    standalone.process.terminate().await;
    let mut standalone = home.start(&[]).await;
    assert_eq!(names(&home), uids);
    home.write("one.yaml", &one);
    home.write("two.yaml", &two);
    standalone.process.line("running").await;
    receiver.set_behaviour(Behaviour::ok());
    // Two destinations, one receiver: each gets all.
    for name in ["one", "two"] {
        let stored = home.settled(name).await;
        assert_eq!((stored.settled, stored.dropped, stored.lost), (5, 0, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_left_the_folder_is_deleted_and_the_others_stay() {
    let receiver = refusing().await;
    let mut home = Home::new();
    home.write("stays.yaml", &destination("stays", &receiver.url(), ""));
    home.write("goes.yaml", &destination("goes", &receiver.url(), ""));
    let mut standalone = home.start(&[]).await;
    let mut client = Client::new(standalone.addr);
    client.post_until_accepted(&Post::numbered(1)).await;
    owes(&home, "goes", 1).await;
    home.remove("goes.yaml");
    let line = standalone.process.line("destination deleted").await;
    assert!(line.contains("default/goes") && line.contains("backlog=1"), "{line}");
    owes(&home, "stays", 1).await;
    eventually("its keys are gone", async || {
        let keys = home.redis().cli(&["KEYS", "ph:{default}:q:*"]);
        holds(keys.lines().count() == 1, || keys)
    })
    .await;
    // It comes back as a new one.
    home.write("goes.yaml", &destination("goes", &receiver.url(), ""));
    standalone.process.line("destination created").await;
    eventually("it is new", async || {
        let uid = crate::support::stored::uid(&home.redis(), "default", "default/goes");
        holds(uid.is_some(), || "not yet".into())
    })
    .await;
    assert_eq!(home.stored("goes").routed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_refused_with_a_reason_and_what_waits_stays() {
    let receiver = refusing().await;
    let mut home = Home::with(&destination("d", &receiver.url(), ""));
    home.write("posthorn.yaml", "buses: {other: {}}");
    let mut standalone = home.start(&[]).await;
    let mut client = Client::new(standalone.addr);
    client.post_until_accepted(&Post::numbered(1)).await;
    owes(&home, "d", 1).await;
    for (more, said) in [("  bus: other\n", "spec.bus: "), ("  startFrom: Earliest\n", "spec.startFrom: ")] {
        home.write("destinations.yaml", &destination("d", &receiver.url(), more));
        let line = standalone.process.line(said).await;
        assert!(line.contains("cannot be changed") && line.contains("default/d"), "{line}");
        owes(&home, "d", 1).await;
    }
    // The bus of a destination is renamed in the settings and in the destination.
    standalone.process.terminate().await;
    home.write("posthorn.yaml", "buses: {renamed: {}}");
    home.write("destinations.yaml", &destination("d", &receiver.url(), "  bus: renamed\n"));
    let mut standalone = home.start(&[]).await;
    standalone.process.line("bus cannot be changed").await;
    owes(&home, "d", 1).await;
    // And back.
    receiver.set_behaviour(Behaviour::ok());
    home.write("destinations.yaml", &destination("d", &receiver.url(), ""));
    let (stored, log) = (home.settled("d").await, receiver.log());
    History::strict("d", &client.accepted, &log, &stored).assert_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_errors_are_reported_with_their_place_and_the_others_go_on() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut home = Home::new();
    home.write("good.yaml", &destination("good", &receiver.url(), ""));
    home.write("unknown.yaml", &destination("unknown", &receiver.url(), "  retries: 5\n"));
    home.write("twice.yaml", &destination("good", &receiver.url(), ""));
    home.write("value.yaml", &destination("value", &receiver.url(), "").replace("retry: -1", "retry: many"));
    home.write("syntax.yaml", "a: [1,\n");
    let mut standalone = home.start(&[]).await;
    for (file, line, field) in [
        ("unknown.yaml", "line=11", "retries"),
        ("twice.yaml", "", "metadata.name"),
        ("value.yaml", "line=10", "retry"),
        ("syntax.yaml", "line=", ""),
    ] {
        let found = standalone.process.line(&format!("file=\"{file}\"")).await;
        assert!(found.contains("ERROR") && found.contains(line) && found.contains(field), "{found}");
    }
    let mut client = Client::new(standalone.addr);
    client.post_until_accepted(&Post::numbered(1)).await;
    let (stored, log) = (home.settled("good").await, receiver.log());
    History::strict("good", &client.accepted, &log, &stored).assert_kept();
    assert_eq!(names(&home).lines().count(), 2, "no other destination was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_data_directory_is_refused() {
    let mut home = Home::new();
    let standalone = home.start(&[]).await;
    let (folder, data) = (home.folder().display().to_string(), home.data().display().to_string());
    let output = Posthorn::run(&["standalone", &folder, "--data-dir", &data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(&format!("pid {}", standalone.process.pid())), "{said}");
    ready(standalone.admin, "/readyz").await;
}

/// Local addresses of the TCP sockets that a process listens on, from /proc.
fn listens_on(pid: u32) -> Vec<SocketAddr> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let inodes: BTreeSet<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        for line in std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == "0A" && inodes.contains(fields[9]) {
                let (address, port) = fields[1].split_once(':').unwrap();
                let port = u16::from_str_radix(port, 16).unwrap();
                let ip = match u32::from_str_radix(address, 16) {
                    Ok(v4) => std::net::IpAddr::from(v4.to_le_bytes()),
                    Err(_) => std::net::IpAddr::from(u128::from_str_radix(address, 16).unwrap().to_be_bytes()),
                };
                found.push(SocketAddr::new(ip, port));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listens_beyond_loopback_unless_asked() {
    // Its own ports may be in use by another one on this machine; then it says which ones it wanted.
    let home = Home::new();
    let (folder, data) = (home.folder().display().to_string(), home.data().display().to_string());
    let mut standalone = Posthorn::start(&["standalone", &folder, "--data-dir", &data]);
    eventually("a start, or a port in use", async || {
        let log = standalone.log();
        let said = log.contains("running listen=127.0.0.1:8080 admin_listen=127.0.0.1:9090") || log.contains("cannot listen on 127.0.0.1:");
        holds(said, || log)
    })
    .await;
    if standalone.runs() {
        let addresses = listens_on(standalone.pid());
        assert!(addresses.len() == 2 && addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
    }
    drop(standalone);

    let mut home = Home::new();
    let standalone = home.start(&[]).await;
    let pid = std::fs::read_to_string(home.data().join("redis/redis.pid")).unwrap().trim().parse().unwrap();
    assert_eq!(listens_on(pid), [], "its redis-server has a Unix socket only");
    let addresses: BTreeSet<_> = listens_on(standalone.process.pid()).into_iter().collect();
    assert_eq!(addresses, BTreeSet::from([standalone.addr, standalone.admin]));
}

const SECRETS: &str = "---
apiVersion: v1
kind: Secret
metadata: {name: keys, labels: {posthorn.dev/allow: 'true'}}
stringData:
  header: canary-header
  token: canary-token
  user: canary-user
  password: canary-password
  signing: whsec_Y2FuYXJ5LXNpZ25pbmc=
";

/// What must be found nowhere: the values, and the forms in which they could leak.
const CANARIES: [&str; 6] = ["canary", "Y2FuYXJ5", "Y2FuYX", "NhbmFye", "jYW5hcn", "Canary"];

fn secretive(name: &str, auth: &str, url: &str) -> String {
    let key = |key: &str| format!("{{secretKeyRef: {{name: keys, key: {key}}}}}");
    destination(name, "x", "").replace(
        "uri: x\n",
        &format!(
            "{url}\n      headers: [{{name: X-Api-Key, valueFrom: {}}}]\n      auth: {auth}\n      signing: {{secretKeyRefs: [{{name: keys, key: signing}}]}}\n",
            key("header")
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_found_nowhere_but_at_the_receiver() {
    let good = Receiver::start(Behaviour::every(3, Answer::Status(500))).await.unwrap();
    // Receivers that fail in every way, and one that shows in its answer what it got.
    let echo = Receiver::start(Behaviour::new(|seen| Answer::Response {
        status: 400,
        headers: vec![("x-echo".into(), seen.header("x-api-key").unwrap_or_default().into())],
        body: seen.header("authorization").unwrap_or_default().to_owned().into(),
    }))
    .await
    .unwrap();
    let bearer = "{bearer: {secretKeyRef: {name: keys, key: token}}}";
    let basic = "{basic: {secretRef: {name: keys}}}";
    let basic_keys = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: basic, labels: {posthorn.dev/allow: 'true'}}\nstringData: {username: canary-user, password: canary-password}\n";
    let url = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: urls, labels: {{posthorn.dev/allow: 'true'}}}}\nstringData:\n  good: {}canary-path?token=canary-query\n  dead: http://127.0.0.1:1/canary-path\n  bad: 'http://canary user@x'\n",
        good.url()
    );
    let from = |key: &str| format!("uriFrom: {{secretKeyRef: {{name: urls, key: {key}}}}}");
    let mut text = SECRETS.to_owned() + basic_keys + &url;
    text += &secretive("good", bearer, &format!("uri: {}", good.url()));
    text += &secretive("hidden", &basic.replace("keys", "basic"), &from("good"));
    text += &secretive("dead", bearer, &from("dead"));
    text += &secretive("echo", bearer, &format!("uri: {}", echo.url()));
    text += &secretive("bad", bearer, &from("bad"));
    let mut home = Home::with(&text);
    let mut standalone = home.start(&["--log", "trace"]).await;
    let mut client = Client::new(standalone.addr);
    for number in 0..10 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    home.settled("good").await;
    home.settled("hidden").await;
    eventually("failures", async || {
        let (dead, echo) = (home.stored("dead"), home.stored("echo"));
        holds(dead.queued.len() == 10 && echo.buried > 0, || format!("{dead:?} {echo:?}"))
    })
    .await;
    // A secret that is edited wrongly is told of, too.
    home.write(
        "wrong.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: wrong}\nstringData: {key: [canary-list]}\n---\nkind: canary: canary\n",
    );
    standalone.process.line("file=\"wrong.yaml\"").await;

    let sent = good.log();
    assert!(sent.iter().any(|seen| seen.header("x-api-key") == Some("canary-header")), "it is used at all");
    assert!(sent.iter().any(|seen| seen.header("authorization") == Some("Bearer canary-token")));
    assert!(sent.iter().any(|seen| seen.path == "/canary-path?token=canary-query"));
    let data = home.data().display().to_string();
    let mut places = vec![("redis", everything(&home))];
    for path in ["/metrics", "/readyz", "/livez"] {
        places.push((path, String::from_utf8_lossy(&get(standalone.admin, path).await.unwrap().body).into_owned()));
    }
    for output in ["json", "yaml", "wide"] {
        places.push((output, Posthorn::ok(&["get", "--data-dir", &data, "-o", output])));
    }
    places.push(("dead letters", Posthorn::ok(&["dead", "list", "--data-dir", &data, "echo"])));
    places.push(("validate", validate(&home)));
    standalone.process.terminate().await;
    places.push(("log", standalone.process.log()));
    for (place, text) in places {
        assert!(!text.is_empty(), "{place}");
        let found = text.lines().find(|line| CANARIES.iter().any(|canary| line.contains(canary)));
        assert_eq!(found, None, "{place}");
    }
}

/// Every key of the private Redis with all that it holds.
fn everything(home: &Home) -> String {
    let redis = home.redis();
    let mut all = String::new();
    for key in redis.cli(&["KEYS", "*"]).lines() {
        let read: &[&str] = match redis.cli(&["TYPE", key]).as_str() {
            "string" => &["GET", key],
            "hash" => &["HGETALL", key],
            "stream" => &["XRANGE", key, "-", "+"],
            "zset" => &["ZRANGE", key, "0", "-1"],
            other => panic!("{key}: {other}"),
        };
        all += &format!("{key}\n{}\n", redis.cli(read));
    }
    all
}

/// What `validate` says of the folder, good and bad.
fn validate(home: &Home) -> String {
    let output = Posthorn::run(&["validate", &home.folder().display().to_string()]);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
