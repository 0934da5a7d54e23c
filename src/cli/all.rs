//! Every destination as it is now.

use crate::bus::state::{self, Snapshot};
use crate::bus::{Error, Link};
use crate::plan::Route;
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;

/// Destinations asked for at once.
const AT_ONCE: usize = 64;

/// uid, route and state of these destinations, in the order of their uids.
///
/// # Errors
/// If Redis does not answer.
pub async fn snapshots(link: &Link, bus: &str, routes: BTreeMap<String, Route>) -> Result<Vec<(String, Route, Snapshot)>, Error> {
    let one = |(uid, route): (String, Route)| async move {
        let snapshot = state::snapshot(link, bus, &uid).await?;
        Ok((uid, route, snapshot))
    };
    futures::stream::iter(routes).map(one).buffered(AT_ONCE).try_collect().await
}
