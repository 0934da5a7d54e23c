use super::*;
use crate::plan::{BackoffPolicy, Delivery, Format, HttpSink, OnExhausted, Secret, Sink};
use std::os::unix::fs::symlink;

fn plan(uid: &str, id: &str) -> Plan {
    Plan {
        id: id.into(),
        uid: uid.into(),
        bus: "default".into(),
        namespace: "shop".into(),
        name: uid.into(),
        suspend: false,
        sink: Sink::Http(HttpSink {
            uri: Secret::new("http://receiver.example/canary"),
            in_cluster: false,
            format: Format::Binary,
            headers: Vec::new(),
            auth: None,
            batch: None,
            ca_bundle: None,
            client_certificate: None,
            insecure_skip_verify: false,
            server_name: None,
            signing: Vec::new(),
            halt_on_status_codes: Vec::new(),
            retry_after_max: Duration::ZERO,
        }),
        replicas: 0,
        ordering: Default::default(),
        rate: None,
        delivery: Delivery {
            retry: Some(1),
            backoff_policy: BackoffPolicy::Constant,
            backoff_delay: Duration::from_secs(1),
            backoff_max: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            max_event_age: None,
            on_exhausted: OnExhausted::Drop,
            max_dead_letters: 1,
            dead_letters_to: None,
        },
    }
}

fn json(uid: &str, id: &str) -> Result<Vec<u8>, String> {
    Ok(serde_json::to_vec(&plan(uid, id)).expect("a plan is JSON"))
}

fn contents<const N: usize>(files: [(&str, Result<Vec<u8>, String>); N]) -> Contents {
    files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect()
}

/// `uid=id` of each plan in force.
fn in_force(known: &Known) -> String {
    known.plans().values().map(|plan| format!("{}={}", plan.uid, plan.id)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_bad_file_keeps_its_last_plan_and_is_noted_once() {
    let mut known = Known::default();
    known.take(contents([("a", json("u1", "1")), ("b", json("u2", "1"))]));
    assert_eq!(in_force(&known), "u1=1 u2=1");
    for bad in
        [Ok(b"{\"id\": \"canary\"".to_vec()), Ok(Vec::new()), Ok(b"{\"id\": [\"canary\"]}".to_vec()), Err("permission denied".to_owned())]
    {
        let files = contents([("a", bad), ("b", json("u2", "2"))]);
        let notes = known.take(files.clone());
        assert!(
            notes.iter().any(|note| matches!(note, Note::Bad { file, reason } if file == "a" && !reason.contains("canary"))),
            "{notes:?}"
        );
        assert_eq!(known.take(files), []);
        assert_eq!(in_force(&known), "u1=1 u2=2");
    }
    known.take(contents([("a", json("u1", "3"))]));
    assert_eq!(in_force(&known), "u1=3");
}

#[test]
fn a_file_that_was_never_good_holds_nothing() {
    let mut known = Known::default();
    known.take(contents([("a", Ok(b"half".to_vec()))]));
    assert_eq!(in_force(&known), "");
}

#[test]
fn of_two_plans_for_one_destination_the_first_counts() {
    let mut known = Known::default();
    let notes = known.take(contents([("a", json("u1", "1")), ("b", json("u1", "2"))]));
    assert!(matches!(&notes[..], [_, _, Note::Bad { file, .. }] if file == "b"), "{notes:?}");
    assert_eq!(in_force(&known), "u1=1");
    known.take(contents([("b", json("u1", "2"))]));
    assert_eq!(in_force(&known), "u1=2");
}

/// Writes a version of a mounted Secret as kubelet does.
fn mount(directory: &Path, version: &str, files: &[(&str, Vec<u8>)]) {
    let hidden = directory.join(version);
    std::fs::create_dir(&hidden).expect("writable");
    for (name, content) in files {
        std::fs::write(hidden.join(name), content).expect("writable");
        let _ = symlink(Path::new("..data").join(name), directory.join(name));
    }
    symlink(version, directory.join("..data_tmp")).expect("writable");
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("writable");
}

#[tokio::test]
async fn the_swap_of_a_mounted_secret_is_seen() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let good = |id| vec![("u1.json", json("u1", id).expect("good"))];
    mount(base.path(), "..1", &good("1"));
    let mut plans = watch(base.path().to_owned(), Shutdown::new()).expect("readable");
    assert_eq!(plans.borrow_and_update()["u1"].id, "1");

    mount(base.path(), "..2", &good("2"));
    plans.changed().await.expect("it is watched");
    assert_eq!(plans.borrow_and_update()["u1"].id, "2");

    std::fs::remove_file(base.path().join("u1.json")).expect("writable");
    plans.changed().await.expect("it is watched");
    assert!(plans.borrow_and_update().is_empty());
}

#[tokio::test]
async fn a_directory_that_vanishes_changes_nothing() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let directory = base.path().join("plans");
    std::fs::create_dir(&directory).expect("writable");
    std::fs::write(directory.join("u1.json"), json("u1", "1").expect("good")).expect("writable");
    let mut plans = watch(directory.clone(), Shutdown::new()).expect("readable");
    std::fs::rename(&directory, base.path().join("away")).expect("writable");
    std::fs::create_dir(base.path().join("new")).expect("writable");
    std::fs::write(base.path().join("new/u1.json"), json("u1", "2").expect("good")).expect("writable");
    std::fs::rename(base.path().join("new"), &directory).expect("writable");
    plans.changed().await.expect("it is watched");
    assert_eq!(plans.borrow()["u1"].id, "2");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let error = watch("/nowhere/plans".into(), Shutdown::new()).expect_err("it is not there").to_string();
    assert!(error.contains("/nowhere/plans"), "{error}");
}
