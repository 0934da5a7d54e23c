//! One destination: read → attempt → settle | back off | bury.
//!
//! It holds its queue by a tenure: a lease, on one connection, for one plan. Whatever ends the tenure (a lost lease, a sick connection, a
//! new plan) ends everything that came through it; the next one reads lease, state and head from Redis again.
//!
//! * here: one tenure after the other. `orders`: what ends one from outside.
//! * `shift`: the work of one tenure: when what is sent, and what a person asked for.
//! * `flights`: requests in progress. `sending`: from what may start to what came of it. `failing`: what follows if it failed. `halting`: rests and probes. `report`: what is shown of it all.

mod failing;
mod flights;
mod halting;
mod orders;
mod report;
mod sending;
mod shift;

use super::LaneContext;
use super::clock::{self, RedisClock};
use super::feed::{Barrier, Feed};
use super::sink::Sink;
use crate::bus::lease::{self, Leased};
use crate::bus::queue::{Answered, Tenure};
use crate::bus::{Error, Link};
use crate::event::Sequence;
use crate::plan::Plan;
use orders::Orders;
use shift::Shift;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause before a lease is asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a request may go on after the lane was told to stop or got a new plan.
const GRACE: Duration = Duration::from_secs(5);

/// Why a tenure ended.
enum End {
    Stopped,
    NewPlan,
    NotOurs,
    Lost(String),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Lost(error.to_string())
    }
}

/// Runs one destination until told to stop: one tenure after the other.
pub async fn run(mut plans: watch::Receiver<Arc<Plan>>, context: Arc<LaneContext>, stop: CancellationToken) {
    let (uid, namespace, name) = {
        let plan = plans.borrow();
        (plan.uid.clone(), plan.namespace.clone(), plan.name.clone())
    };
    // registered before the first look, so that no wake-up is missed
    let wake = context.wakes.register(&uid);
    let mut begun = HashSet::new();
    while !stop.is_cancelled() {
        let plan = plans.borrow_and_update().clone();
        let mut orders = Orders::new(&mut plans, &stop);
        match tenure(&plan, &context, &wake, &mut begun, &mut orders).await {
            End::Stopped => break,
            End::NewPlan => {}
            End::NotOurs => {
                // who holds the lease measures it; what was measured here would stand still
                context.metrics.remove_destination(&namespace, &name);
                orders.pause(PAUSE, &wake).await;
            }
            End::Lost(reason) => {
                tracing::warn!(namespace, destination = name, reason, "delivery was interrupted; taking the queue again");
                orders.pause(PAUSE, &Notify::new()).await;
            }
        }
    }
    context.wakes.forget(&uid);
    context.metrics.remove_destination(&namespace, &name);
}

/// One tenure, from its lease to its end.
async fn tenure(plan: &Plan, context: &LaneContext, wake: &Arc<Notify>, begun: &mut HashSet<Sequence>, orders: &mut Orders<'_>) -> End {
    let sink = match Sink::new(plan, &context.sink) {
        Ok(sink) => sink,
        Err(error) => {
            tracing::error!(namespace = plan.namespace, destination = plan.name, %error, "it cannot be delivered to; waiting for another plan");
            orders.arrive().await;
            return orders.pending().unwrap_or(End::NewPlan);
        }
    };
    let link = tokio::select! {
        link = context.links.link() => link,
        () = orders.arrive() => return orders.pending().unwrap_or(End::NewPlan),
    };
    match take(context, plan, link, wake).await {
        Ok(Some((feed, state))) => Shift::new(plan, context, begun, feed, sink, orders, &state).work().await,
        Ok(None) => End::NotOurs,
        Err(error) => End::Lost(error.to_string()),
    }
}

/// Takes the lease; `None` while it is another worker's or the destination has no route.
async fn take(
    context: &LaneContext,
    plan: &Plan,
    link: Link,
    wake: &Arc<Notify>,
) -> Result<Option<(Feed, HashMap<String, String>)>, Error> {
    link.hello(&plan.bus).await?;
    let asked = (Instant::now(), clock::boot());
    match lease::lease(&link, &plan.bus, &plan.uid, &context.tokens).await? {
        (token, Leased::Held { state, now }) => {
            let tenure = Tenure { link, bus: plan.bus.clone(), uid: plan.uid.clone(), token };
            let barrier = (plan.replicas > 0).then(|| Barrier { links: context.barrier(), replicas: plan.replicas });
            Ok(Some((Feed::new(plan, tenure, Arc::clone(wake), asked, RedisClock::heard(now)).with_barrier(barrier), state)))
        }
        (_, Leased::Busy | Leased::NoRoute) => Ok(None),
    }
}

fn fenced() -> End {
    End::Lost("another worker holds the lease".to_owned())
}

fn done<T>(answered: Answered<T>) -> Result<Option<T>, End> {
    match answered {
        Answered::Done(value) => Ok(Some(value)),
        Answered::Gone => Ok(None),
        Answered::Fenced => Err(fenced()),
    }
}
