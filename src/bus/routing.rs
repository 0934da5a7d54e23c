//! Destinations as the router knows them, for whoever makes, changes and removes them: the scripts `create update delete ask`.

use super::connection::{Error, Link};
use super::keys;
use super::scripts::Script;
use crate::event::Sequence;
use crate::plan::Route;
use std::collections::BTreeMap;

/// Where a new destination begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Events accepted from now on.
    Latest,
    /// All that the bus still holds.
    Earliest,
    /// Events accepted since then: milliseconds since the epoch.
    Since(u64),
    /// A recorded position: a destination that is made again.
    Recorded(Sequence),
}

impl Start {
    /// Whether a destination that shall begin at a time began only here, as the bus kept nothing from before.
    pub fn is_before(self, start: Sequence) -> bool {
        match self {
            Start::Since(millis) => start > millis.checked_sub(1).map_or(Sequence::ZERO, |ms| Sequence { ms, seq: u64::MAX }),
            Start::Latest | Start::Earliest | Start::Recorded(_) => false,
        }
    }
}

/// What `create` found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made, and reads from here.
    New(Sequence),
    /// It was there already, and reads from here.
    Existed(Sequence),
    /// The name belongs to another destination, with this uid.
    Taken(String),
}

/// What `update` found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The route is now this one.
    Done,
    /// A newer revision is there.
    Stale,
    /// There is no such destination.
    Gone,
}

/// What a deleted destination held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Events that still waited.
    pub backlog: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
}

/// What a person asks of the worker of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The waiting or halted head is tried now.
    Retry,
    /// This head is given up, reason `Skipped`.
    Skip(Sequence),
}

/// What came of a request that is made once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// It is made now.
    Done,
    /// It was made before.
    Repeated,
    /// There is no such destination.
    Gone,
}

impl Route {
    /// The field of `names`: `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a route has only string keys")
    }
}

/// Makes the route, the queue and the consumer group of a destination, or what is missing of them. Script `create`.
pub async fn create(link: &Link, bus: &str, uid: &str, route: &Route, start: Start) -> Result<Created, Error> {
    let start = match start {
        Start::Latest => "latest".to_owned(),
        Start::Earliest => "earliest".to_owned(),
        Start::Since(millis) => format!("since {millis}"),
        Start::Recorded(sequence) => sequence.to_string(),
    };
    link.hello(bus).await?;
    loop {
        let call = link.script(Script::Create, bus).arg(uid).arg(route.full_name()).arg(route.to_text()).arg(&start);
        let mut answer = call.run().await?;
        match answer.text()?.as_str() {
            "OK" => return Ok(Created::New(answer.parse()?)),
            "EXISTS" => return Ok(Created::Existed(answer.parse()?)),
            "TAKEN" => return Ok(Created::Taken(answer.text()?)),
            // the bus was deleted from Redis since this connection said hello
            "NOBUS" => link.hello_again(bus).await?,
            other => return Err(answer.unexpected(other)),
        }
    }
}

/// Replaces the route of a destination; makes its name known if it is not. Script `update`.
pub async fn update(link: &Link, bus: &str, uid: &str, route: &Route) -> Result<Updated, Error> {
    call_update(link, bus, uid, route, "").await
}

/// The same, even if a newer revision is there: for who knows that revisions went back. Script `update`.
pub async fn restore(link: &Link, bus: &str, uid: &str, route: &Route) -> Result<Updated, Error> {
    call_update(link, bus, uid, route, "force").await
}

async fn call_update(link: &Link, bus: &str, uid: &str, route: &Route, force: &str) -> Result<Updated, Error> {
    let mut answer = link.script(Script::Update, bus).arg(uid).arg(route.rev).arg(route.to_text()).arg(force).run().await?;
    match answer.text()?.as_str() {
        "OK" => Ok(Updated::Done),
        "STALE" => Ok(Updated::Stale),
        "GONE" => Ok(Updated::Gone),
        other => Err(answer.unexpected(other)),
    }
}

/// Removes a destination and all it holds; repeating it is harmless. Script `delete`.
pub async fn delete(link: &Link, bus: &str, uid: &str, full_name: &str) -> Result<Deleted, Error> {
    let mut answer = link.script(Script::Delete, bus).arg(uid).arg(full_name).run().await?;
    match answer.text()?.as_str() {
        "OK" => Ok(Deleted { backlog: answer.parse()?, dead_letters: answer.parse()? }),
        other => Err(answer.unexpected(other)),
    }
}

/// Leaves a request for the worker of a destination; false if there is no such destination. Script `ask`.
pub async fn ask(link: &Link, bus: &str, uid: &str, ask: Ask, nonce: &str) -> Result<bool, Error> {
    Ok(call_ask(link, bus, uid, ask, nonce, "").await? == Once::Done)
}

/// The same for a request that lasts, like an annotation: nothing is asked if `nonce` is that of the last one of its kind. Script `ask`.
pub async fn ask_once(link: &Link, bus: &str, uid: &str, ask: Ask, nonce: &str) -> Result<Once, Error> {
    call_ask(link, bus, uid, ask, nonce, "ask").await
}

/// Remembers a request as the last one of its kind, without asking anything: it was refused. Script `ask`.
pub async fn refuse_once(link: &Link, bus: &str, uid: &str, ask: Ask, nonce: &str) -> Result<Once, Error> {
    call_ask(link, bus, uid, ask, nonce, "note").await
}

async fn call_ask(link: &Link, bus: &str, uid: &str, ask: Ask, nonce: &str, once: &str) -> Result<Once, Error> {
    let (verb, id) = match ask {
        Ask::Retry => ("retry", "-".to_owned()),
        Ask::Skip(sequence) => ("skip", sequence.to_string()),
    };
    let mut answer = link.script(Script::Ask, bus).arg(uid).arg(verb).arg(id).arg(nonce).arg(once).run().await?;
    match answer.text()?.as_str() {
        "OK" => Ok(Once::Done),
        "REPEATED" => Ok(Once::Repeated),
        "GONE" => Ok(Once::Gone),
        other => Err(answer.unexpected(other)),
    }
}

/// `namespace/name` → uid of every destination of the bus.
pub async fn names(link: &Link, bus: &str) -> Result<BTreeMap<String, String>, Error> {
    link.query(redis::cmd("HGETALL").arg(keys::names(bus))).await
}

/// uid → route of every destination of the bus. A route that cannot be read is left out, with a warning.
pub async fn routes(link: &Link, bus: &str) -> Result<BTreeMap<String, Route>, Error> {
    let texts: BTreeMap<String, String> = link.query(redis::cmd("HGETALL").arg(keys::routes(bus))).await?;
    Ok(texts.into_iter().filter_map(|(uid, text)| Some((uid.clone(), read_route(&uid, &text)?))).collect())
}

pub(super) fn read_route(uid: &str, text: &str) -> Option<Route> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(uid, error = %error, "the route of a destination cannot be read; it gets no events until it is written again"))
        .ok()
}
