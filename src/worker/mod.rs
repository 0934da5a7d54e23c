//! Delivers: one lane for each plan.
//!
//! ```text
//! plans ─▶ lane: lease ─▶ read ahead ─▶ attempt ─▶ 2xx: settle (not awaited)
//!                                               └▶ else: fail (awaited) ─▶ back off on the head, or bury, or halt
//! ```
//!
//! [`retry`] and [`halt`] decide, [`attempt`] says what an outcome means, [`sink`] sends, [`guard`] says where to, [`feed`] keeps what was read
//! ahead and what is yet to be settled, [`lane`] puts them together.

pub mod attempt;
pub mod clock;
pub mod feed;
pub mod guard;
pub mod halt;
pub mod held;
pub mod lane;
pub mod lanes;
pub mod plans;
pub mod rate;
pub mod retry;
pub mod sink;

use crate::admin::Metrics;
use crate::bus::lease::Tokens;
use crate::bus::wake::Wakes;
use crate::bus::{PerServer, Server, Servers, Supervisor};
use crate::plan::Plan;
use crate::shutdown::Shutdown;
use plans::Plans;
use sink::SinkContext;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a worker needs.
pub struct WorkerConfig {
    /// Where Redis is.
    pub servers: Servers,
    /// What to run, as it changes.
    pub plans: Plans,
    /// What all sinks share.
    pub sink: SinkContext,
    /// How often the head of a halted destination is probed. Default 5 min.
    pub probe: Duration,
    /// Tokens of this process.
    pub tokens: Arc<Tokens>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// What all lanes of a process on one server share.
pub struct LaneContext {
    /// The one command connection.
    pub links: Supervisor,
    /// Wake-ups.
    pub wakes: Wakes,
    /// Tokens of this process.
    pub tokens: Arc<Tokens>,
    /// What all sinks share.
    pub sink: SinkContext,
    /// How often the head of a halted destination is probed.
    pub probe: Duration,
    /// The one place for an attempt that may kill the process.
    pub alone: Arc<Semaphore>,
    /// Where lanes count.
    pub metrics: Arc<Metrics>,
    server: Server,
    barrier: OnceLock<Supervisor>,
}

impl LaneContext {
    /// The connection for waiting on replicas and for nothing else; there is none until a lane asks for it.
    pub fn barrier(&self) -> Supervisor {
        self.barrier.get_or_init(|| Supervisor::start_blocking(&self.server, "barrier", feed::BARRIER)).clone()
    }
}

struct Running {
    plan: watch::Sender<Arc<Plan>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Runs a lane for each plan until told to stop; then lanes finish or end their requests, settle and give their leases back.
pub async fn run(config: WorkerConfig, stop: Shutdown) {
    let mut plans = config.plans;
    let alone = Arc::new(Semaphore::new(1));
    let contexts = config.servers.map(|server| {
        Arc::new(LaneContext {
            links: Supervisor::start(server, "worker"),
            wakes: Wakes::start(server.url.clone()),
            tokens: Arc::clone(&config.tokens),
            sink: config.sink.clone(),
            probe: config.probe,
            alone: Arc::clone(&alone),
            metrics: Arc::clone(&config.metrics),
            server: server.clone(),
            barrier: OnceLock::new(),
        })
    });
    let mut lanes: BTreeMap<String, Running> = BTreeMap::new();
    let mut check = tokio::time::interval(Duration::from_secs(1));
    loop {
        let wanted = plans.borrow_and_update().clone();
        follow(&mut lanes, &wanted, &contexts);
        tokio::select! {
            changed = plans.changed() => if changed.is_err() { stop.begun().await },
            // a lane that ended by a defect is started again
            _ = check.tick() => {}
            () = stop.begun() => {}
        }
        if stop.has_begun() {
            break;
        }
    }
    for lane in lanes.values() {
        lane.stop.cancel();
    }
    for lane in lanes.into_values() {
        let _ = lane.task.await;
    }
}

/// Starts, changes and stops lanes so that they are the plans.
fn follow(lanes: &mut BTreeMap<String, Running>, wanted: &BTreeMap<String, Arc<Plan>>, contexts: &PerServer<Arc<LaneContext>>) {
    lanes.retain(|uid, lane| {
        if !wanted.contains_key(uid) {
            lane.stop.cancel();
        }
        // a stopping lane ends before its successor begins, so that one process never holds a queue twice
        !lane.task.is_finished()
    });
    for (uid, plan) in wanted {
        match lanes.get(uid) {
            Some(lane) => {
                lane.plan.send_if_modified(|present| {
                    let changed = **present != **plan;
                    if changed {
                        *present = plan.clone();
                    }
                    changed
                });
            }
            None => {
                let (sender, receiver) = watch::channel(plan.clone());
                let stop = CancellationToken::new();
                let task = tokio::spawn(lane::run(receiver, Arc::clone(contexts.of(&plan.bus)), stop.clone()));
                lanes.insert(uid.clone(), Running { plan: sender, stop, task });
            }
        }
    }
}
