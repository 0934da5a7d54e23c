//! One function and one doc line for each key. All keys of a bus carry its hash tag, so they share one slot.
//!
//! Scripts are given [`cursor`] alone and make the other names from it.

/// Hash: version mark, router position, routing generation, history of the server, counters of the bus.
pub fn cursor(bus: &str) -> String {
    format!("ph:{{{bus}}}:cursor")
}

/// Stream: accepted events.
pub fn log(bus: &str) -> String {
    format!("ph:{{{bus}}}:in")
}

/// Hash: uid → route.
pub fn routes(bus: &str) -> String {
    format!("ph:{{{bus}}}:routes")
}

/// Hash: namespace/name → uid.
pub fn names(bus: &str) -> String {
    format!("ph:{{{bus}}}:names")
}

/// Hash: uid → position of a destination that is behind the cursor.
pub fn fills(bus: &str) -> String {
    format!("ph:{{{bus}}}:fills")
}

/// Stream: what one destination still owes, with the consumer group `delivery`.
pub fn queue(bus: &str, uid: &str) -> String {
    format!("ph:{{{bus}}}:q:{uid}")
}

/// Hash: counters, streaks, what the worker reports, what a person asked for.
pub fn state(bus: &str, uid: &str) -> String {
    format!("ph:{{{bus}}}:st:{uid}")
}

/// Hash: entry ID → attempts, next time, last failure; only of events in trouble.
pub fn tries(bus: &str, uid: &str) -> String {
    format!("ph:{{{bus}}}:try:{uid}")
}

/// String with a TTL: the lease of one queue.
pub fn lease(bus: &str, uid: &str) -> String {
    format!("ph:{{{bus}}}:own:{uid}")
}

/// String with a TTL: the lease of the router.
pub fn router_lease(bus: &str) -> String {
    format!("ph:{{{bus}}}:own:router")
}

/// Stream: dead letters of one destination.
pub fn dead_letters(bus: &str, uid: &str) -> String {
    format!("ph:{{{bus}}}:dead:{uid}")
}

/// String with a TTL: the entry ID of an event that was accepted lately.
pub fn seen(bus: &str, identity: &str) -> String {
    format!("ph:{{{bus}}}:seen:{identity}")
}

/// Pub/sub pattern of the wake-ups of every bus; the message is a uid.
pub const WAKE_PATTERN: &str = "ph:{*}:wake";

/// Pub/sub pattern of the hints that the state of a destination changed, for every bus; the message is a uid.
pub const STATE_PATTERN: &str = "ph:{*}:state";

/// The bus of such a channel.
pub fn bus_of_channel(channel: &str) -> Option<&str> {
    channel.strip_prefix("ph:{")?.rsplit_once('}').map(|(bus, _)| bus)
}
