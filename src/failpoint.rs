//! Named points where a test makes this process die or panic.
//!
//! `POSTHORN_FAILPOINTS=worker.send=kill@3,worker.failed:event-7=panic`: at the third passage; at each that works on this event.
//! Compiled with `debug_assertions`: in what `cargo test` runs, without a flag that someone could forget; never in a release build.

#[cfg(debug_assertions)]
use std::sync::{
    LazyLock,
    atomic::{AtomicI64, Ordering},
};

/// Place (`point` or `point:key`), action, and how many passages are left until it is done, if not at each.
#[cfg(debug_assertions)]
static RULES: LazyLock<Vec<(String, String, Option<AtomicI64>)>> = LazyLock::new(|| {
    let text = std::env::var("POSTHORN_FAILPOINTS").unwrap_or_default();
    let rules = text.split(',').filter_map(|rule| {
        let (place, what) = rule.split_once('=')?;
        let (action, at) = what.split_once('@').map_or((what, None), |(action, at)| (action, at.parse().ok()));
        Some((place.to_owned(), action.to_owned(), at.map(AtomicI64::new)))
    });
    rules.collect()
});

/// Passes a point; `key` names what is worked on.
pub fn hit(point: &str, key: &str) {
    #[cfg(debug_assertions)]
    for (place, action, left) in RULES.iter() {
        let met = place == point || place.split_once(':') == Some((point, key));
        if met && left.as_ref().is_none_or(|left| left.fetch_sub(1, Ordering::Relaxed) == 1) {
            match action.as_str() {
                "kill" => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).expect("it is our own"),
                _ => panic!("failpoint {point}"),
            }
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = (point, key);
}
