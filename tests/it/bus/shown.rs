//! What is compared of a destination: as the model has it, and as Redis holds it.

use super::fixture::Bus;
use super::model::{Destination, Trial};
use posthorn::event::Sequence;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is compared of a destination.
#[derive(Debug, PartialEq)]
pub struct Shown {
    queue: Vec<Sequence>,
    last: Option<Sequence>,
    counters: BTreeMap<&'static str, u64>,
    flags: (bool, bool),
    fill: Option<Sequence>,
    dead: Vec<Sequence>,
    tries: BTreeMap<Sequence, Trial>,
    pending: BTreeSet<Sequence>,
}

impl Shown {
    pub fn of(d: &Destination) -> Shown {
        let counters = [
            ("routed", d.routed),
            ("settled", d.settled),
            ("buried", d.buried),
            ("dropped", d.dropped),
            ("lost", d.lost),
            ("failed", d.failed),
            ("retried", d.retried),
            ("purged", d.purged),
            ("bytes", d.bytes),
            ("streak", d.streak),
        ];
        Shown {
            queue: d.queue.keys().copied().collect(),
            last: d.has_queue.then_some(d.last),
            counters: counters.into_iter().collect(),
            flags: (d.halted, d.want),
            fill: d.fill,
            dead: d.dead.clone(),
            tries: d.tries.clone(),
            pending: d.pending.union(&d.foreign).copied().collect(),
        }
    }
}

type Stream = Vec<(String, HashMap<String, Vec<u8>>)>;

/// What Redis holds of a destination; `None` if nothing.
pub fn found(bus: &Bus, connection: &mut redis::Connection, uid: &str) -> Option<Shown> {
    let (queue, st) = (bus.key("q", uid), bus.key("st", uid));
    let mut pipe = redis::pipe();
    pipe.exists(&queue).hgetall(&st).cmd("XRANGE").arg(&queue).arg("-").arg("+").hget(bus.bus_key("fills"), uid);
    pipe.cmd("XRANGE").arg(bus.key("dead", uid)).arg("-").arg("+").hgetall(bus.key("try", uid));
    type Found = (bool, HashMap<String, String>, Stream, Option<String>, Stream, HashMap<String, String>);
    let (exists, st, entries, fill, dead, tries): Found = pipe.query(connection).unwrap();
    if st.is_empty() {
        assert!(!exists && fill.is_none());
        return None;
    }
    let pending: Vec<(String, String, u64, u64)> = match exists {
        true => redis::cmd("XPENDING").arg(&queue).arg("delivery").arg("-").arg("+").arg(1000).query(connection).unwrap(),
        false => Vec::new(),
    };
    let id = |text: &String| text.parse::<Sequence>().unwrap();
    let names = ["routed", "settled", "buried", "dropped", "lost", "failed", "retried", "purged", "bytes", "streak"];
    Some(Shown {
        queue: entries.iter().map(|(text, _)| id(text)).collect(),
        last: exists.then(|| bus.last_id(&queue)),
        counters: names.into_iter().map(|name| (name, st.get(name).map_or(0, |value| value.parse().unwrap()))).collect(),
        flags: (st.contains_key("halted"), st.contains_key("want")),
        fill: fill.as_ref().map(id),
        dead: dead.iter().map(|(_, fields)| String::from_utf8_lossy(&fields["orig"]).parse().unwrap()).collect(),
        tries: tries.iter().map(|(text, trial)| (id(text), read_trial(trial))).collect(),
        pending: pending.iter().map(|(text, ..)| id(text)).collect(),
    })
}

fn read_trial(text: &str) -> Trial {
    let trial: serde_json::Value = serde_json::from_str(text).unwrap();
    let number = |name: &str| trial[name].as_u64().unwrap_or(0) as u32;
    let flag = |name: &str| trial[name].as_bool().unwrap();
    Trial { n: number("n"), open: flag("open"), solo: flag("solo"), deaths: number("deaths") }
}
