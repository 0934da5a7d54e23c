//! What `kubectl` prints of destinations that do well and of destinations in trouble: the states are checked here, and `hack/kubectl-docs.sh` writes
//! `docs/kubectl.md` from this very run.

use crate::support::world::{SHOP, World};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use std::fmt::Write;
use std::path::Path;

/// Set by `hack/kubectl-docs.sh`.
const WRITE: &str = "POSTHORN_WRITE_KUBECTL_DOCS";

/// Name, what is said of it, and the reason of its condition Delivering or, where that says nothing, Ready.
const SHOWN: [(&str, &str, &str); 4] = [
    ("healthy", "A healthy destination", "Its receiver answers 204."),
    (
        "retrying",
        "A retrying destination",
        "Its receiver answers 503. The first event is tried again and again, the others wait behind it.",
    ),
    (
        "halted",
        "A halted destination",
        "Its receiver answers 401: no event is to blame for that, so none is given up. The first one is tried every five minutes; see \
         [delivery](delivery.md) for what ends it.",
    ),
    (
        "misconfigured",
        "A misconfigured destination",
        "It refers to a Secret that is not there. Its events are queued and wait; no attempt is made before the Secret is found.",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_shows_how_destinations_do_and_what_to_do() {
    let world = World::start().await;
    let answers = [("healthy", 204), ("retrying", 503), ("halted", 401), ("misconfigured", 204)];
    let mut receivers = Vec::new();
    for (name, code) in answers {
        let receiver = Receiver::start(Behaviour::always(Answer::Status(code))).await.unwrap();
        let more = match name {
            "misconfigured" => ", signing: {secretKeyRefs: [{name: billing-signing, key: secret}]}",
            _ => "",
        };
        world.cluster.apply(&format!(
            "{{apiVersion: posthorn.dev/v1alpha1, kind: EventDestination, metadata: {{name: {name}, namespace: {SHOP}}}, spec: {{sink: {{http: \
             {{uri: \"{}hooks\"{more}}}}}}}}}",
            receiver.url()
        ));
        receivers.push(receiver);
    }
    for name in ["healthy", "retrying", "halted"] {
        world.ready(name).await;
    }
    world.reason("misconfigured", "Resolved", "SecretNotFound").await;
    world.post(1..=20).await;
    world.delivered("healthy", 20).await;
    for (name, reason) in [("healthy", "Idle"), ("retrying", "Retrying"), ("halted", "Halted"), ("misconfigured", "Pending")] {
        world.reason(name, "Delivering", reason).await;
    }
    for name in ["retrying", "halted", "misconfigured"] {
        world.status(name, "backlog", &20.into()).await;
    }
    world.status("healthy", "delivered", &20.into()).await;
    for (name, event) in [("healthy", "Ready"), ("halted", "Halted"), ("misconfigured", "SecretNotFound")] {
        world.event(name, event).await;
    }
    let page = page(&world);
    for (column, row) in [("READY", "misconfigured"), ("ATTEMPT", "retrying"), ("401", "halted"), ("posthorn-pool-0", "healthy")] {
        assert!(page.contains(column) && page.contains(row), "{column}, {row}: {page}");
    }
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kubectl.md"), page).unwrap();
    }
}

fn page(world: &World) -> String {
    let mut page = String::from(
        "# Destinations in kubectl\n\nWhat `kubectl` prints of four destinations: one does well, three are in trouble. Made from a real run by \
         `hack/kubectl-docs.sh`.\n\n",
    );
    let mut shown = |args: &[&str]| {
        let printed = world.cluster.ok(&[args, &["-n", SHOP]].concat());
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let _ = write!(page, "```console\n$ kubectl {} -n {SHOP}\n{}\n```\n\n", args.join(" "), lines.join("\n"));
    };
    shown(&["get", "eventdestinations"]);
    shown(&["get", "evd", "-o", "wide"]);
    for (name, title, text) in SHOWN {
        let described = world.cluster.ok(&["describe", "evd", name, "-n", SHOP]);
        let status = &described[described.find("\nStatus:").map_or(0, |at| at + 1)..];
        let lines: Vec<&str> = status.lines().map(str::trim_end).collect();
        let _ = write!(
            page,
            "## {title}\n\n{text}\n\n```console\n$ kubectl describe evd {name} -n {SHOP} | sed -n '/^Status:/,$p'\n{}\n```\n\n",
            lines.join("\n")
        );
    }
    let explained = world.cluster.ok(&["explain", "eventdestination.spec.delivery"]);
    let lines: Vec<&str> = explained.lines().map(str::trim_end).collect();
    let text = "Every field is explained, with its bounds and its default.";
    let _ = writeln!(
        page,
        "## The fields\n\n{text}\n\n```console\n$ kubectl explain eventdestination.spec.delivery\n{}\n```",
        lines.join("\n").trim_end()
    );
    page
}
