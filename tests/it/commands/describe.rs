//! `describe`.

use super::{PATIENT, Place, UNAVAILABLE};
use crate::support::eventually;
use crate::support::eventually::holds;
use posthorn::receiver::Answer;

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_destination_is_described_with_its_head_and_what_to_do() {
    let place = Place::start(UNAVAILABLE, PATIENT).await;
    let idle = place.ok(&["describe", "billing"]);
    assert!(idle.contains("No event has matched its filters yet"), "{idle}");
    place.ok(&["send", "--type", "com.example.a", "--id", "stuck"]);
    place.ok(&["send", "--type", "com.example.a", "--id", "behind"]);
    eventually("the first attempt", async || holds(place.receiver.count() == 1, || "none".into())).await;
    // shown from the second failed attempt of one head
    place.ok(&["retry", "billing"]);
    place.row("Retrying", |row| row[2] == "Retrying").await;
    let shown = place.ok(&["describe", "billing"]);
    for part in [
        "Name:          default/billing",
        "State:         Retrying: attempt ",
        "Backlog:       2, the oldest one ",
        "  ID:          stuck",
        "  Last error:  ServerError (503): answered 503",
        "  Next try:    in ",
        "  Delivering        False    Retrying",
        "  - The receiver is in trouble: look at its logs. It is tried again by itself; posthorn retry default/billing tries it now.",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(!shown.contains("canary") && shown.lines().all(|line| line == line.trim_end()), "{shown}");
    let object = place.json(&["describe", "billing"]);
    assert_eq!((&object["status"]["head"]["eventID"], &object["status"]["backlog"]), (&"stuck".into(), &2.into()));
    assert!(object["whatToDo"][0].as_str().unwrap().contains("posthorn retry"), "{object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_counted_by_reason() {
    let place = Place::start(Answer::Status(422), "{retry: 0}").await;
    place.ok(&["send", "--type", "t", "--count", "2"]);
    place.row("two dead letters", |row| row[6] == "2").await;
    let shown = place.ok(&["describe", "billing"]);
    assert!(shown.contains("  Unprocessable   2       "), "{shown}");
    assert!(shown.contains("posthorn dead redrive default/billing"), "{shown}");
    assert_eq!(place.json(&["describe", "billing"])["deadLettersByReason"]["Unprocessable"], 2);
}
