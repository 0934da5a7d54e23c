//! `dry-run`.

use super::text;
use crate::support::Posthorn;
use serde_json::Value;
use tempfile::TempDir;

const EVENT: &str = r#"{"specversion":"1.0","id":"e1","source":"/s","type":"com.example.order.placed","sequence":"9","data":{"n": 1.50}}"#;

const DESTINATION: &str = "
apiVersion: posthorn.dev/v1alpha1
kind: EventDestination
metadata: {name: billing}
spec:
  filters: [{prefix: {type: com.example.order.}}, {not: {exact: {source: /test}}}]
  sink:
    http:
      uri: https://billing.example:8080/hooks?tenant=a
      headers: [{name: X-Team, value: shop}, {name: X-Api-Key, valueFrom: {secretKeyRef: {name: keys, key: api}}}]
      auth: {bearer: {secretKeyRef: {name: keys, key: token}}}
      signing: {secretKeyRefs: [{name: keys, key: sign}]}
";
const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: keys, labels: {posthorn.dev/allow: 'true'}}
stringData: {api: canary-api, token: canary-token, sign: whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5}
";

/// Files of these texts, and a call of `dry-run` on the first two.
struct Files(TempDir);

impl Files {
    fn new(destination: &str, event: &str) -> Files {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("destination.yaml"), destination).unwrap();
        std::fs::write(dir.path().join("event.json"), event).unwrap();
        Files(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, more: &[&str]) -> std::process::Output {
        let (destination, event) = (self.path("destination.yaml"), self.path("event.json"));
        Posthorn::run(&[&["dry-run", "-f", &destination, "-e", &event], more].concat())
    }
}

#[test]
fn the_exact_request_is_shown_and_no_secret_of_it() {
    let files = Files::new(&format!("{DESTINATION}---{SECRET}"), EVENT);
    let output = files.run(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for line in [
        "default/billing wants the event",
        "    ✓ prefix",
        "      ✓ type begins with \"com.example.order.\"  ◀",
        "POST https://billing.example:8080/hooks?tenant=a",
        "host: billing.example:8080",
        "ce-id: e1",
        "ce-producersequence: 9",
        "x-team: shop",
        "x-api-key: …",
        "authorization: Bearer …",
        "webhook-signature: v1,…",
        "posthorn-attempt: 1",
        "content-length: 11",
        "{\"n\": 1.50}",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
    }
    let object: Value = serde_json::from_str(&text(&files.run(&["-o", "json"]).stdout)).unwrap();
    assert_eq!((&object[0]["wanted"], &object[0]["request"]["body"]), (&true.into(), &"{\"n\": 1.50}".into()));
    for printed in [shown, object.to_string()] {
        assert!(!printed.contains("canary") && !printed.contains("Y2FuYXJ5"), "{printed}");
    }
}

#[test]
fn an_event_that_is_not_wanted_is_told_which_clause_decided() {
    let files = Files::new(DESTINATION, &EVENT.replace("com.example.order", "org.example"));
    let output = files.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("does not want the event") && !shown.contains("POST"), "{shown}");
    assert!(shown.contains("✗ type begins with \"com.example.order.\"  (it is \"org.example.placed\")  ◀"), "{shown}");
}

#[test]
fn a_secret_that_is_missing_is_told_and_the_filter_all_the_same() {
    let files = Files::new(DESTINATION, EVENT);
    let output = files.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("wants the event") && shown.contains("It cannot be sent: spec.sink.http"), "{shown}");
}

#[test]
fn a_url_from_a_secret_is_shown_without_its_path() {
    let destination = "{apiVersion: posthorn.dev/v1alpha1, kind: EventDestination, metadata: {name: a, namespace: team}, spec: {suspend: true, sink: \
                       {http: {format: Structured, uriFrom: {secretKeyRef: {name: keys, key: url}}}}}}\n---\n{apiVersion: v1, kind: Secret, metadata: \
                       {name: keys, namespace: team, labels: {posthorn.dev/allow: 'true'}}, stringData: {url: 'https://a.example/canary?canary=1'}}";
    let output = Files::new(destination, EVENT).run(&["--name", "a"]);
    let shown = text(&output.stdout);
    assert!(shown.contains("POST https://a.example/…\n") && !shown.contains("canary"), "{shown}{}", text(&output.stderr));
    assert!(shown.contains("suspended: the event would wait") && shown.contains("content-type: application/cloudevents+json"), "{shown}");
}

#[test]
fn an_event_in_binary_mode_is_a_body_and_its_headers() {
    let files = Files::new(&format!("{DESTINATION}---{SECRET}"), "not json");
    let no_event = files.run(&[]);
    assert!(text(&no_event.stderr).contains("is no CloudEvent in JSON"), "{}", text(&no_event.stderr));
    let headers = ["ce-specversion: 1.0", "ce-id: b1", "ce-source: /s", "ce-type: com.example.order.x", "content-type: text/plain"];
    let flags: Vec<&str> = headers.iter().flat_map(|header| ["--header", *header]).collect();
    let output = files.run(&flags);
    let shown = text(&output.stdout);
    assert!(shown.contains("content-type: text/plain") && shown.ends_with("\n\nnot json\n"), "{shown}{}", text(&output.stderr));
}

#[test]
fn mistakes_in_files_are_told_with_their_place() {
    let files = Files::new(
        "kind: EventDestination\napiVersion: posthorn.dev/v1alpha1\nmetadata: {name: a}\nspec: {sink: {http: {uri: a}}}\n",
        EVENT,
    );
    let output = files.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("destination.yaml:4: spec.sink.http.uri"), "{}", text(&output.stderr));
    let both = Posthorn::run(&["dry-run", "-f", "-", "-e", "-"]);
    assert!(text(&both.stderr).contains("either the destination or the event"), "{}", text(&both.stderr));
    let none = files.run(&["--name", "b"]);
    assert_eq!(none.status.code(), Some(1));
}
