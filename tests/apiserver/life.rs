//! The operator's life: killed, restarted, one of two, without its API server, with objects that cannot be read.

mod apiserver;
mod bad;
mod idle;
mod killed;
mod paused;
mod two;

use crate::support::it::client::get;
use crate::support::it::eventually::{eventually_within, holds};
use crate::support::it::pieces::metric;
use crate::support::world::OPERATOR;
use crate::support::{Cluster, Request};
use std::net::SocketAddr;
use std::time::Duration;

/// A lease that is not renewed ends after 15 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until an operator has looked so often at destinations as it has by now and `more`.
async fn looks(admin: SocketAddr, more: u32) {
    let series = "posthorn_operator_looks_total";
    let wanted = metric(admin, series).await + f64::from(more);
    eventually_within(PATIENCE, &format!("{more} more looks"), async || {
        let found = metric(admin, series).await;
        holds(found >= wanted, || format!("{found} of {wanted}"))
    })
    .await;
}

/// Waits until what `/readyz` says has this line, and returns whether it is ready.
async fn readiness(admin: SocketAddr, line: &str) -> bool {
    eventually_within(PATIENCE, &format!("/readyz says {line}"), async || {
        let answer = get(admin, "/readyz").await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        holds(text.lines().any(|found| found.starts_with(line)), || text.clone())?;
        Ok(answer.status == 200)
    })
    .await
}

/// What operators wrote to statuses and objects of destinations so far, in order: the pod, and what it wrote to.
fn writes_of_pods(cluster: &Cluster) -> Vec<(String, String)> {
    let requests = cluster.requests();
    let writes = requests.iter().filter(|request| request.is_write() && request.user() == OPERATOR && request.resource() != "leases");
    writes.map(|request| (pod(request), format!("{} {}", request.resource(), request.name()))).collect()
}

/// The pod that a request came from, as its user agent says.
fn pod(request: &Request) -> String {
    let agent = request.user_agent();
    agent.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or_else(|| panic!("{agent}")).to_owned()
}
