//! Redis itself, its memory, and the way from ingest through the router.

use super::Finding;
use crate::bus::overview::{MOST_UNROUTED, Overview, version};
use crate::bus::safety::{self, Memory};
use crate::bus::{Error, Link};
use crate::cli::table::age;
use crate::settings::{BusSettings, Fsync};

/// Space is made from this share of the watermark on, percent.
const SHORT_ABOVE: u64 = 90;
/// A router that is further behind is slow, and further still stands, milliseconds.
const SLOW: u64 = 2_000;
const STANDS: u64 = 30_000;

pub(super) async fn look(link: &Link, settings: &BusSettings) -> Result<Vec<Finding>, Error> {
    let (version, concerns) = (version(link).await?, safety::check(link, settings.durability.fsync).await?);
    let mut findings: Vec<Finding> = concerns
        .iter()
        .map(|concern| match concern.to_string().split_once(": ") {
            Some((what, to_do)) if concern.is_fatal() => Finding::fail("redis", what, to_do),
            Some((what, to_do)) => Finding::warn("redis", what, to_do),
            None => Finding::warn("redis", concern.to_string(), "look at it yourself: redis-cli CONFIG GET appendfsync"),
        })
        .collect();
    if concerns.is_empty() {
        let fsync = match settings.durability.fsync {
            Fsync::Always => "before it answers",
            Fsync::EverySecond => "each second (a crash may lose the last one)",
        };
        findings.push(Finding::ok("redis", format!("{version} keeps what it accepts: append-only file, written {fsync}, noeviction")));
    }
    findings.extend(space(&safety::memory(link).await?, settings));
    Ok(findings)
}

/// Memory against the watermark, and what recognising repeats takes of it.
fn space(memory: &Memory, settings: &BusSettings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (used, watermark) = (format!("{} of {}", size(memory.used), size(memory.max)), memory.share(settings.watermark));
    let message = format!("{used} used, the watermark is {} ({} %)", size(watermark), settings.watermark);
    findings.push(if memory.used > watermark {
        Finding::fail(
            "memory",
            message,
            "ingest refuses events: raise maxmemory, mend the destinations with the largest backlogs, or purge dead letters",
        )
    } else if memory.used > watermark / 100 * SHORT_ABOVE {
        Finding::warn("memory", message, "space is being made: raise maxmemory, or mend the destinations with the largest backlogs")
    } else {
        Finding::ok("memory", message)
    });
    if memory.assumed {
        let what = "the server sets no maxmemory; 75 % of its machine is assumed";
        findings.push(Finding::warn("memory", what, "set maxmemory, so that Redis is never killed for want of memory"));
    }
    let (window, now) = (settings.dedupe_window, memory.dedupe_window(settings.dedupe_window));
    findings.push(match now < window {
        true => Finding::warn(
            "dedupe",
            format!("memory is short, so repeats are recognised for {}s only, not {}s", now.as_secs(), window.as_secs()),
            "raise maxmemory, or make dedupeWindow shorter",
        ),
        false => Finding::ok("dedupe", format!("about {} events are remembered, each for {}s", memory.expiring, window.as_secs())),
    });
    findings
}

/// From ingest through the router.
pub(super) fn flow(bus: &Overview, destinations: usize) -> Vec<Finding> {
    let accepted = match bus.last.ms {
        0 => "no event was accepted yet".to_owned(),
        last => format!("{} events accepted, the last {} ago; {} are kept", bus.accepted, age(last, bus.now), bus.kept),
    };
    let count = if bus.behind < MOST_UNROUTED { bus.behind.to_string() } else { format!("{MOST_UNROUTED} or more") };
    let waits = bus.unrouted.map_or(0, |first| bus.now.saturating_sub(first.ms));
    let lag = format!("{count} events are not routed yet, the oldest for {}", age(0, waits));
    let router = match bus.is_routed {
        false if bus.behind == 0 && destinations == 0 => Finding::ok("router", "none runs, and nothing is to be routed"),
        false => {
            Finding::fail("router", format!("none runs; {lag}"), "start one (posthorn router, or standalone): events are accepted and wait")
        }
        true if waits > STANDS => Finding::fail("router", lag, "look at its log: it cannot go on, or Redis is too slow"),
        true if waits > SLOW => {
            Finding::warn("router", lag, "look again in a minute; if it grows, events come faster than one router can route them")
        }
        true => Finding::ok("router", if bus.behind == 0 { "all that was accepted is routed".to_owned() } else { lag }),
    };
    vec![Finding::ok("ingest", accepted), router]
}

/// A number of bytes for a person.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::event::Sequence;

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn memory_is_judged_by_the_watermark() {
        let of = |used, assumed| levels(&space(&Memory { used, max: 1_000_000, assumed, expiring: 0 }, &BusSettings::default()));
        assert_eq!(of(100_000, false), [Level::Ok, Level::Ok]);
        assert_eq!(of(100_000, true), [Level::Ok, Level::Warn, Level::Ok]);
        assert_eq!(of(800_000, false), [Level::Warn, Level::Ok]);
        assert_eq!(of(851_000, false), [Level::Fail, Level::Ok]);
        let crowded = Memory { used: 740_000, max: 1_000_000, assumed: false, expiring: 2_000 };
        assert_eq!(levels(&space(&crowded, &BusSettings::default())), [Level::Ok, Level::Warn]);
    }

    #[test]
    fn a_router_is_judged_by_how_far_it_is_behind() {
        let of = |is_routed, waits: Option<u64>, destinations| {
            let unrouted = waits.map(|ms| Sequence { ms: 1_000_000 - ms, seq: 0 });
            let bus = Overview { now: 1_000_000, is_routed, unrouted, behind: waits.map_or(0, |_| 1), ..Overview::default() };
            flow(&bus, destinations)[1].level
        };
        assert_eq!((of(false, None, 0), of(false, None, 1), of(false, Some(1), 0)), (Level::Ok, Level::Fail, Level::Fail));
        assert_eq!((of(true, Some(10), 1), of(true, Some(3_000), 1), of(true, Some(40_000), 1)), (Level::Ok, Level::Warn, Level::Fail));
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!((size(7), size(1536), size(3 << 30)), ("7 B".into(), "1.5 KiB".into(), "3.0 GiB".into()));
    }
}
