//! The scripts `bury halt unhalt`, and reading dead letters.

use super::fixture::{Bus, burial, done, event_named, read_all, settle};
use posthorn::bus::dead_letters;
use posthorn::bus::queue::{Answered, Burial, Buried, Fate, Streak, Tenure};
use posthorn::bus::routing::{self, Start};
use posthorn::bus::state;
use posthorn::event::Sequence;
use posthorn::plan::Route;
use std::time::Duration;

/// A queue with so many events that its owner has read.
async fn owned(events: usize) -> (Bus, Tenure, Vec<Sequence>) {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", events).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    (bus, tenure, owed)
}

#[tokio::test]
async fn a_buried_event_is_kept_with_the_reason() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let event = event_named("buried");
    let id = bus.append(std::slice::from_ref(&event)).await.unwrap()[0].sequence;
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    done(tenure.fail(id, 2, "Status", Some(422), "bad", Some(Duration::ZERO)).await);
    let burial = Burial { class: "Status", message: "bad field", ..burial(id) };
    assert_eq!(done(tenure.bury(&burial).await), Buried::Done);
    assert_eq!((bus.queue("u").len(), bus.consumers("u")["w"], bus.trial("u", id)), (0, 0, None));
    let letters = dead_letters::list(&bus.link, &bus.name, "u", Sequence::ZERO, 10).await.unwrap();
    let letter = &letters[0];
    assert_eq!((letter.sequence, letter.event.as_ref().unwrap(), letter.attempts), (id, &event, 2));
    assert_eq!((letter.class.as_str(), letter.code, letter.message.as_str()), ("Status", Some(422), "bad field"));
    assert!(letter.first.unwrap() <= letter.at && letter.at <= bus.time());
    for by in [letter.id, id] {
        assert_eq!(dead_letters::find(&bus.link, &bus.name, "u", by).await.unwrap().as_ref(), Some(letter));
    }
    assert_eq!(dead_letters::find(&bus.link, &bus.name, "u", id.next()).await.unwrap(), None);
    assert_eq!((bus.count("u", "buried"), bus.count("u", "dropped")), (1, 0));
    bus.check();
}

#[tokio::test]
async fn an_event_that_was_never_tried_is_buried_too() {
    let (bus, tenure, owed) = owned(1).await;
    done(tenure.bury(&Burial { class: "Expired", ..burial(owed[0]) }).await);
    let letter = dead_letters::find(&bus.link, &bus.name, "u", owed[0]).await.unwrap().unwrap();
    assert_eq!((letter.attempts, letter.code, letter.first, letter.class.as_str()), (0, None, None, "Expired"));
    bus.check();
}

#[tokio::test]
async fn a_dropped_event_is_counted_and_not_kept() {
    let (bus, tenure, owed) = owned(1).await;
    assert_eq!(done(tenure.bury(&Burial { fate: Fate::Drop, ..burial(owed[0]) }).await), Buried::Done);
    assert_eq!((bus.count("u", "buried"), bus.count("u", "dropped")), (0, 1));
    assert!(!bus.keys().contains(&bus.key("dead", "u")));
    bus.check();
}

#[tokio::test]
async fn an_event_is_buried_once() {
    let (bus, tenure, owed) = owned(1).await;
    done(tenure.bury(&burial(owed[0])).await);
    let before = bus.everything();
    assert_eq!(tenure.bury(&burial(owed[0])).await.unwrap(), Answered::Gone);
    assert_eq!(bus.everything(), before);
    bus.check();
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_buried_as_it_is() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.post(1).await;
    let log = bus.bus_key("in");
    let next = bus.last_id(&log).next().to_string();
    bus.cli(&["XADD", &log, &next, "v", "2", "n", "7", "orig", "1-1", "new", "field"]);
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    let id = read[1].entry.sequence;
    assert!(read[1].entry.event().is_err());
    done(tenure.bury(&Burial { class: "Undecodable", ..burial(id) }).await);
    let letter = dead_letters::find(&bus.link, &bus.name, "u", id).await.unwrap().unwrap();
    assert_eq!((letter.sequence, letter.attempts, letter.event.is_err()), (id, 0, true));
    assert_eq!(bus.entries(&bus.key("dead", "u"))[0].1[..4], ["v", "2", "new", "field"]);
    bus.check();
}

#[tokio::test]
async fn a_destination_that_fails_three_events_in_a_row_is_halted() {
    let (bus, tenure, owed) = owned(5).await;
    let bury = async |id| done(tenure.bury(&Burial { streak: Streak::Destination, ..burial(id) }).await);
    assert_eq!((bury(owed[0]).await, bury(owed[1]).await), (Buried::Done, Buried::Done));
    assert_eq!(bury(owed[2]).await, Buried::ThenHalted("DestinationFailing".to_owned()));
    let before = bus.everything();
    assert_eq!(bury(owed[3]).await, Buried::Halted);
    assert_eq!(bus.everything(), before, "its backlog is kept");
    assert_eq!(tenure.renew().await.unwrap().unwrap().halted.as_deref(), Some("DestinationFailing"));
    bus.check();
}

#[tokio::test]
async fn a_success_in_between_begins_the_row_anew() {
    let (bus, _, owed) = owned(6).await;
    let tenure = bus.take_over("u").await;
    let read = read_all(&tenure).await;
    let bury = async |id| done(tenure.bury(&Burial { streak: Streak::Destination, ..burial(id) }).await);
    bury(owed[0]).await;
    bury(owed[1]).await;
    settle(&tenure, &read[2..3]).await;
    assert_eq!((bury(owed[3]).await, bury(owed[4]).await), (Buried::Done, Buried::Done));
    bus.check();
}

#[tokio::test]
async fn a_receiver_that_refuses_twenty_events_in_a_row_is_halted() {
    let (bus, tenure, owed) = owned(22).await;
    let bury = async |id, fate| done(tenure.bury(&Burial { streak: Streak::Event, fate, ..burial(id) }).await);
    for id in &owed[..19] {
        assert_eq!(bury(*id, Fate::Drop).await, Buried::Done);
    }
    assert_eq!(bury(owed[19], Fate::DeadLetter).await, Buried::ThenHalted("EventsRefused".to_owned()));
    assert_eq!(bury(owed[20], Fate::DeadLetter).await, Buried::Halted);
    assert_eq!((bus.count("u", "dropped"), bus.count("u", "buried")), (19, 1));
    bus.check();
}

#[tokio::test]
async fn what_expired_or_was_skipped_is_no_streak() {
    let (bus, tenure, owed) = owned(4).await;
    bus.cli(&["HSET", &bus.key("st", "u"), "streak", "3", "evstreak", "20"]);
    for id in &owed {
        assert_eq!(done(tenure.bury(&burial(*id)).await), Buried::Done);
    }
    assert_eq!(bus.field("u", "streak").as_deref(), Some("3"));
    bus.check();
}

#[tokio::test]
async fn the_oldest_dead_letters_go_beyond_the_quota() {
    let (bus, tenure, owed) = owned(4).await;
    for id in &owed {
        done(tenure.bury(&Burial { max_dead_letters: 2, ..burial(*id) }).await);
    }
    let letters = dead_letters::list(&bus.link, &bus.name, "u", Sequence::ZERO, 10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), owed[2..]);
    assert_eq!((bus.count("u", "buried"), bus.count("u", "purged")), (4, 2));
    bus.check();
}

#[tokio::test]
async fn no_dead_letter_is_kept_where_none_is_wanted() {
    let (bus, tenure, owed) = owned(1).await;
    done(tenure.bury(&Burial { max_dead_letters: 0, ..burial(owed[0]) }).await);
    assert_eq!((bus.entries(&bus.key("dead", "u")).len(), bus.count("u", "purged")), (0, 1));
    bus.check();
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page() {
    let (bus, tenure, owed) = owned(150).await;
    for id in &owed {
        done(tenure.bury(&burial(*id)).await);
    }
    let first = dead_letters::list(&bus.link, &bus.name, "u", Sequence::ZERO, 100).await.unwrap();
    let second = dead_letters::list(&bus.link, &bus.name, "u", first[99].id, 100).await.unwrap();
    assert_eq!((first.len(), second.len(), second[0].sequence), (100, 50, owed[100]));
    let last = dead_letters::find(&bus.link, &bus.name, "u", owed[149]).await.unwrap().unwrap();
    assert_eq!(last, second[49]);
}

#[tokio::test]
async fn a_halt_keeps_the_time_of_the_first() {
    let (bus, tenure, _) = owned(0).await;
    done(tenure.halt("Unauthorized").await);
    bus.cli(&["HSET", &bus.key("st", "u"), "halted", "Unauthorized 17"]);
    done(tenure.halt("Unauthorized").await);
    assert_eq!(bus.field("u", "halted").as_deref(), Some("Unauthorized 17"));
    done(tenure.halt("Gone").await);
    let halted = bus.field("u", "halted").unwrap();
    assert!(halted.starts_with("Gone ") && halted != "Gone 17", "{halted}");
}

#[tokio::test]
async fn an_ended_halt_leaves_no_streak() {
    let (bus, tenure, owed) = owned(4).await;
    let bury = async |id| done(tenure.bury(&Burial { streak: Streak::Destination, ..burial(id) }).await);
    for id in &owed[..3] {
        bury(*id).await;
    }
    done(tenure.unhalt().await);
    assert_eq!((bus.field("u", "halted"), bus.field("u", "streak")), (None, None));
    assert_eq!(bury(owed[3]).await, Buried::Done);
    bus.check();
}

/// What the log holds that is meant for one destination: its fields `to`, `copy` and `d`.
fn sent_on(bus: &Bus) -> Vec<[String; 3]> {
    let text = |flat: &[bytes::Bytes], name: &str| {
        let field = flat.as_chunks::<2>().0.iter().find(|[field, _]| field == name);
        field.map(|[_, value]| String::from_utf8(value.to_vec()).unwrap()).unwrap_or_default()
    };
    let entries = bus.entries(&bus.bus_key("in"));
    let entries = entries.iter().filter(|(_, flat)| flat.as_chunks::<2>().0.iter().any(|[field, _]| field == "to"));
    entries.map(|(_, flat)| ["to", "copy", "d"].map(|name| text(flat, name))).collect()
}

#[tokio::test]
async fn a_dead_letter_is_sent_to_another_destination_as_well() {
    let (bus, tenure, owed) = owned(2).await;
    bus.create("w").await;
    let data = String::from_utf8(bus.above(Sequence::ZERO).await[0].field("d").unwrap().to_vec()).unwrap();
    let copied = |id| Burial { copy_to: Some(("default", "w")), ..burial(id) };
    assert_eq!(done(tenure.bury(&copied(owed[0])).await), Buried::Done);
    assert_eq!(sent_on(&bus), [["w".to_owned(), "u".to_owned(), data]]);
    done(tenure.bury(&Burial { fate: Fate::Drop, ..copied(owed[1]) }).await);
    assert_eq!(sent_on(&bus).len(), 1, "what is dropped is not sent on");
    assert_eq!((bus.count("u", "buried"), bus.entries(&bus.key("dead", "u")).len()), (1, 1), "it is kept here all the same");
    bus.check();
}

#[tokio::test]
async fn a_dead_letter_whose_target_is_not_there_is_kept_and_nothing_else() {
    let (bus, tenure, owed) = owned(2).await;
    done(tenure.bury(&Burial { copy_to: Some(("default", "nobody")), ..burial(owed[0]) }).await);
    done(tenure.bury(&Burial { copy_to: Some(("default", "u")), ..burial(owed[1]) }).await);
    assert_eq!((sent_on(&bus).len(), bus.count("u", "buried")), (0, 2));
    bus.check();
}

#[tokio::test]
async fn a_copy_is_not_copied_again() {
    let (bus, tenure, owed) = owned(1).await;
    bus.create("w").await;
    done(tenure.bury(&Burial { copy_to: Some(("default", "w")), ..burial(owed[0]) }).await);
    bus.route(&["w"]).await;
    let other = bus.lease("w").await;
    let copy = read_all(&other).await[0].entry.sequence;
    done(other.bury(&Burial { copy_to: Some(("default", "u")), ..burial(copy) }).await);
    assert_eq!((sent_on(&bus).len(), bus.count("w", "buried")), (1, 1));
    bus.check();
}

#[tokio::test]
async fn a_copy_is_above_the_cursor_though_the_log_was_deleted() {
    let (bus, tenure, owed) = owned(1).await;
    bus.create("w").await;
    bus.cli(&["DEL", &bus.bus_key("in")]);
    done(tenure.bury(&Burial { copy_to: Some(("default", "w")), ..burial(owed[0]) }).await);
    assert_eq!(bus.above(bus.position()).await.len(), 1);
}

#[tokio::test]
async fn whether_its_target_is_there_is_told_with_its_state() {
    let bus = Bus::start().await;
    let to = |name: &str| Route { dead_letters_to: Some(name.to_owned()), ..super::fixture::route("u") };
    routing::create(&bus.link, &bus.name, "u", &to("w"), Start::Latest).await.unwrap();
    let told = async || state::snapshot(&bus.link, &bus.name, "u").await.unwrap().has_dead_letter_target;
    assert!(!told().await);
    bus.create("w").await;
    assert!(told().await);
    routing::delete(&bus.link, &bus.name, "w", "default/w").await.unwrap();
    assert!(!told().await);
}
