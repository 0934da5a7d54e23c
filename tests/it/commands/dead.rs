//! `dead redrive`, `dead purge`, `dead export`.

use super::{Place, text};
use crate::support::eventually;
use crate::support::eventually::holds;
use crate::support::process::Posthorn;
use crate::support::redis::Redis;
use crate::support::stored::{Stored, stored, uid};
use posthorn::receiver::{Answer, Behaviour};
use rustix::process::Signal;

const NAME: &str = "default/billing";
const ONCE: &str = "{retry: 0}";

impl Place {
    fn held(&self) -> Stored {
        stored(&self.redis, "default", NAME)
    }

    /// So many events that were given up: their ids are their numbers.
    async fn dead(&self, count: u64) {
        self.receiver.set_behaviour(Behaviour::always(Answer::Status(422)));
        for id in 0..count {
            self.ok(&["send", "--type", "com.example.a", "--id", &id.to_string(), "--data", "{\"n\": 1.50}"]);
        }
        self.row("dead letters", |row| row[6] == count.to_string()).await;
        self.receiver.set_behaviour(Behaviour::ok());
    }

    /// Ids of the events that were accepted, in order.
    fn accepted(&self) -> Vec<String> {
        self.receiver.log().iter().filter(|seen| seen.accepted()).map(|seen| seen.id().unwrap().to_owned()).collect()
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }
}

/// Dead letters as if they had been given up, without the time that takes.
fn give_up(redis: &Redis, count: u64) {
    let uid = uid(redis, "default", NAME).unwrap();
    let (dead, st) = (format!("ph:{{default}}:dead:{uid}"), format!("ph:{{default}}:st:{uid}"));
    let mut pipe = redis::pipe();
    for id in 0..count {
        let attributes = format!(r#"{{"id":"{id}","source":"/s","type":"t"}}"#);
        let fields = [("v", "1"), ("m", "b"), ("a", &attributes), ("c", ""), ("d", "x"), ("n", "1"), ("class", "Refused"), ("code", "")];
        let more = [("orig", format!("{}-0", id + 1)), ("msg", String::new()), ("first", String::new()), ("at", "1".to_owned())];
        pipe.cmd("XADD").arg(&dead).arg("*").arg(&fields[..]).arg(&more[..]).ignore();
    }
    pipe.hincr(&st, "routed", count).ignore().hincr(&st, "buried", count).ignore();
    pipe.query::<()>(&mut redis.connection().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_delivered_again_in_their_order_and_say_so() {
    let place = Place::start(Answer::Status(422), ONCE).await;
    place.dead(5).await;
    place.ok(&["send", "--type", "com.example.a", "--id", "later"]);
    place.row("a later event", |row| row[5] == "1").await;

    // nobody can be asked, so it is told and not done
    let asked = place.run(&["dead", "redrive", "billing"]);
    assert_eq!(asked.status.code(), Some(1));
    let told = text(&asked.stderr);
    assert!(
        told.contains("5 of 5 dead letters")
            && told.contains("They are late: it delivers in order Strict, and after 5 of them")
            && told.contains("--yes"),
        "{told}"
    );
    assert_eq!(place.held().redriven, 0);

    let done = place.ok(&["dead", "redrive", "billing", "--yes", "--rate", "0"]);
    assert_eq!(done, "default/billing: 5 redriven, 0 dead letters are kept\n");
    place.row("all of them", |row| row[5] == "6").await;
    assert_eq!(place.accepted(), ["later", "0", "1", "2", "3", "4"]);
    let redriven: Vec<_> = place.receiver.log().iter().filter(|seen| seen.header("posthorn-redriven") == Some("true")).cloned().collect();
    assert_eq!(redriven.len(), 5);
    assert!(redriven.iter().all(|seen| seen.body == "{\"n\": 1.50}" && seen.attempt() == Some(1)));
    let held = place.held();
    assert_eq!((held.buried, held.redriven, held.routed, held.settled), (5, 5, 11, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_meant_is_put_back_and_what_fails_again_is_not_put_back_again() {
    let place = Place::start(Answer::Status(422), ONCE).await;
    place.dead(4).await;
    let unknown = place.run(&["dead", "redrive", "billing", "--id", "2", "--id", "none", "--yes"]);
    assert!(text(&unknown.stderr).contains("has no dead letter none"), "{}", text(&unknown.stderr));
    let third = place.json(&["dead", "list", "billing"])["items"][3]["sequence"].as_str().unwrap().to_owned();
    let picked = place.json(&["dead", "redrive", "billing", "--id", "1", "--id", &third, "--yes"]);
    assert_eq!((&picked["redriven"], &picked["deadLetters"]), (&2.into(), &2.into()));
    place.row("two delivered", |row| row[5] == "2").await;
    assert_eq!(place.accepted(), ["1", "3"]);
    for none in [["--reason", "Timeout"], ["--until", "1h"], ["--since", "2100-01-01T00:00:00Z"]] {
        let said = place.ok(&[&["dead", "redrive", "billing", "--yes"], &none[..]].concat());
        assert_eq!(said, "default/billing: 0 redriven, 2 dead letters are kept\n", "{none:?}");
    }
    // a run ends with those that were there when it began
    place.receiver.set_behaviour(Behaviour::always(Answer::Status(422)));
    let again = place.json(&["dead", "redrive", "billing", "--reason", "Unprocessable", "--since", "1h", "--yes"]);
    assert_eq!(again["redriven"], 2);
    place.row("buried again", |row| row[6] == "2" && row[3] == "0").await;
    assert_eq!((place.held().buried, place.held().redriven), (6, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_is_cut_off_goes_on_with_the_rest() {
    let place = Place::start(Answer::Status(204), ONCE).await;
    give_up(&place.redis, 300);
    let args = ["dead", "redrive", "billing", "--yes", "--rate", "100/s", "--data-dir"];
    let data = place.data();
    let args = [&args[..], &[data.as_str()]].concat();
    let seen = |least: usize| {
        let place = &place;
        async move { eventually("some of them", async || holds(place.receiver.count() >= least, || place.receiver.count().to_string())).await }
    };
    let mut interrupted = Posthorn::start(&args);
    seen(20).await;
    interrupted.signal(Signal::INT);
    assert_eq!(interrupted.ended().await.code(), Some(1));
    assert!(interrupted.log().contains("goes on with the rest"), "{}", interrupted.log());
    let mut killed = Posthorn::start(&args);
    seen(100).await;
    killed.kill9();
    assert!(!place.held().dead.is_empty());

    place.ok(&["dead", "redrive", "billing", "--yes", "--rate", "0"]);
    place.row("all of them", |row| row[5] == "300" && row[6] == "0").await;
    assert_eq!(place.accepted(), (0..300).map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(place.held().redriven, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_purged_only_when_told_so_twice() {
    let place = Place::start(Answer::Status(422), ONCE).await;
    place.dead(3).await;
    let asked = place.run(&["dead", "purge", "billing", "--id", "1"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("1 of 3 dead letters of default/billing will be removed for good"), "{}", text(&asked.stderr));
    assert_eq!(place.ok(&["dead", "purge", "billing", "--id", "1", "--yes"]), "default/billing: 1 removed, 2 dead letters are kept\n");
    assert_eq!(place.json(&["dead", "purge", "billing", "-y"])["purged"], 2);
    let held = place.held();
    assert_eq!((held.dead.len(), held.purged, held.buried, place.receiver.count()), (0, 3, 3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_exported_can_be_sent_again() {
    let place = Place::start(Answer::Status(422), ONCE).await;
    place.dead(3).await;
    let envelope = "{\"specversion\":\"1.0\",\"id\":\"lines\",\"source\":\"/s\",\"type\":\"t\",\"datacontenttype\":\"text/xml\",\"data\":\"<a>\\n</a>\"}";
    let binary = place.file("binary", [0xff, 0x00, 0x01]);
    place.receiver.set_behaviour(Behaviour::always(Answer::Status(422)));
    place.ok(&["send", "--file", place.file("one", envelope).to_str().unwrap()]);
    place.ok(&["send", "--type", "t", "--id", "binary", "--data-file", binary.to_str().unwrap()]);
    place.row("five of them", |row| row[6] == "5").await;

    let file = place.dir.path().join("dead.jsonl");
    let said = place.ok(&["dead", "export", "billing", "-o", file.to_str().unwrap()]);
    assert!(said.starts_with("default/billing: 5 written to "), "{said}");
    let lines = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines, place.ok(&["dead", "export", "billing"]));
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["id"], &first["deadletterreason"], &first["deadlettercode"]), (&"0".into(), &"Unprocessable".into(), &422.into()));
    assert!(first["deadlettertime"].as_str().unwrap().ends_with('Z') && first["deadletterattempts"] == 1, "{first}");
    assert!(first["sequence"].is_null() && lines.contains("{\"n\": 1.50}"), "{lines}");
    assert_eq!(place.ok(&["dead", "export", "billing", "--id", "binary"]).lines().count(), 1);

    // their ids are still known: forget them, as time would
    let seen = place.redis.cli(&["KEYS", "ph:{default}:seen:*"]);
    seen.lines().for_each(|key| drop(place.redis.cli(&["DEL", key])));
    place.receiver.set_behaviour(Behaviour::ok());
    assert_eq!(place.ok(&["send", "--file", file.to_str().unwrap()]), "sent 5, duplicates 0, refused 0\n");
    place.row("delivered", |row| row[5] == "5").await;
    let log = place.receiver.log();
    let delivered = |id: &str| log.iter().find(|seen| seen.accepted() && seen.id() == Some(id)).unwrap();
    assert_eq!(delivered("0").body, "{\"n\": 1.50}");
    assert_eq!(delivered("lines").body, "<a>\n</a>");
    assert_eq!(delivered("binary").body.as_ref(), [0xff, 0x00, 0x01]);
    assert_eq!(delivered("0").attribute("deadletterreason"), Some("Unprocessable"));
}
