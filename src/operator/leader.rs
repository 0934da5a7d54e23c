//! The lease: one operator leads, the others stand by warm.
//!
//! The lease is the object `posthorn-operator` of `coordination.k8s.io/v1` in the release namespace, by the rules of client-go: whoever leads renews it
//! every 2 s; it is taken from whoever did not for 15 s, as seen by the taker's own clock. Each write carries the `resourceVersion` that was read,
//! so of two takers one gets a conflict. Own code, because each write of the operator asks [`Leadership::leads`], and that needs a deadline
//! measured by the boot clock from *before* the renewal was sent, which no library hands out:
//!
//! ```text
//! renewal sent ──▶ stored, seen by others      sent + 10 s            sent + 15 s at the earliest
//! │ we lead ─────────────────────────────────▶│ we write nothing new  │ another may take it
//! ```
//!
//! The 5 s between are for calls that were under way ([`api::DEADLINE`] at most) and for clocks that run apart. The boot clock goes on while the process is
//! stopped or the machine sleeps, so whoever wakes up late knows it at once.
//!
//! What ends the process is that the lease was *lost*: another holds it, or it was released or deleted, and not by us. That the deadline passed is no
//! loss: while the API server is away nobody can take the lease either, and a process that ended would come back without its caches, again and
//! again, for nothing. It stops writing, goes on looking, and leads on if the lease is found as it was left: had another led meanwhile, its name
//! would stand there, or none. client-go ends there, because its users do not ask before each write.
//!
//! A process that is stopped between asking and sending writes late, as with any lease; each of our writes can be repeated, and the leader
//! compares and repairs.

mod decide;

pub use decide::Lost;

use super::api::{self, call};
use super::error::{Class, Error};
use super::metrics::OperatorMetrics;
use crate::bus::lease::random_token;
use crate::shutdown::Shutdown;
use crate::worker::clock;
use decide::{LEASE, Record, Step, decide};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Name of the lease.
pub const NAME: &str = "posthorn-operator";
/// How long we lead after a renewal was sent.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pause between renewals.
const RENEW: Duration = Duration::from_secs(2);
/// Pause between looks at another's lease, and after a failure.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after a conflict.
const AGAIN: Duration = Duration::from_millis(200);

// a call that was begun in time ends in time
const _: () = assert!(DEADLINE.as_secs() + api::DEADLINE.as_secs() <= LEASE.as_secs());

/// Whether this process leads. Cheap to clone; asked before each write. At first it does not.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Milliseconds of the boot clock.
    until: AtomicU64,
    standing: watch::Sender<Standing>,
}

/// Where this process stands, for people. Whether it may write is told by [`Leadership::leads`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not looked yet.
    Starting,
    /// It leads.
    Leading,
    /// Another leads.
    StandingBy {
        /// Its identity.
        leader: String,
    },
    /// Nobody knows: the lease cannot be read or written.
    Unknown {
        /// Why.
        why: String,
    },
    /// It is ending.
    Ended,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Starting => f.write_str("starting"),
            Standing::Leading => f.write_str("leading"),
            Standing::StandingBy { leader } => write!(f, "standing by: {leader} leads"),
            Standing::Unknown { why } => write!(f, "waiting for the lease: {why}"),
            Standing::Ended => f.write_str("ending"),
        }
    }
}

impl Leadership {
    fn new() -> Leadership {
        Leadership(Arc::new(Inner { until: AtomicU64::new(0), standing: watch::Sender::new(Standing::Starting) }))
    }

    /// For tests of others: leads for ever.
    #[cfg(test)]
    pub fn always() -> Leadership {
        let leadership = Leadership::new();
        leadership.0.until.store(u64::MAX, Ordering::Release);
        leadership.0.standing.send_replace(Standing::Leading);
        leadership
    }

    /// Whether the lease is ours and not about to end, by the boot clock.
    pub fn leads(&self) -> bool {
        millis(clock::boot()) < self.0.until.load(Ordering::Acquire)
    }

    /// Asks [`Leadership::leads`].
    ///
    /// # Errors
    /// [`Error::NotLeading`] if we do not.
    pub fn check(&self) -> Result<(), Error> {
        if self.leads() { Ok(()) } else { Err(Error::NotLeading) }
    }

    /// Where this process stands, each time that changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Waits until this process leads.
    pub async fn wait_for_lead(&self) {
        let mut standing = self.standing();
        while !self.leads() {
            // it may come back without a change: the deadline passed, and the renewal came late
            let _ = tokio::time::timeout(LOOK, standing.changed()).await;
        }
    }

    fn lead_until(&self, until: Duration) {
        self.0.until.store(millis(until), Ordering::Release);
    }

    /// Whether that is a change.
    fn stand(&self, standing: Standing) -> bool {
        self.0.standing.send_if_modified(|before| {
            let changed = *before != standing;
            *before = standing;
            changed
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One candidate; [`Leader::run`] makes it lead where it may.
#[derive(Debug)]
pub struct Leader {
    api: Api<Lease>,
    me: String,
    leadership: Leadership,
    metrics: OperatorMetrics,
    known: Option<Known>,
    /// `known` is what we wrote last: no need to look.
    sure: bool,
    /// This process has held it.
    held: bool,
    /// The failure that was told last; none since a success.
    trouble: Option<String>,
}

/// The object as we last saw it, and since when it is so in our eyes.
#[derive(Debug)]
struct Known {
    lease: Lease,
    since: Duration,
}

impl Leader {
    /// A candidate for the lease in that namespace. `pod` names it to people; two processes of one name are told apart.
    pub fn new(client: Client, namespace: &str, pod: &str, metrics: OperatorMetrics) -> Leader {
        Leader {
            api: Api::namespaced(client, namespace),
            me: format!("{pod}_{}", random_token()),
            leadership: Leadership::new(),
            metrics,
            known: None,
            sure: false,
            held: false,
            trouble: None,
        }
    }

    /// Where others see whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Takes the lease when it is free and keeps it until `shutdown` begins; then releases it, so that another leads at once. Begin `shutdown` after
    /// the last write.
    ///
    /// # Errors
    /// If the lease was lost: the process is to end.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Lost> {
        let ended = tokio::select! {
            () = shutdown.begun() => Ok(()),
            lost = self.hold() => Err(lost),
        };
        self.leadership.lead_until(Duration::ZERO);
        self.leadership.stand(Standing::Ended);
        self.metrics.leader.set(0);
        match &ended {
            Ok(()) if self.held => self.release().await,
            Ok(()) => {}
            Err(lost) => tracing::error!(lease = NAME, %lost, "no longer the leader; the process ends"),
        }
        ended
    }

    async fn hold(&mut self) -> Lost {
        loop {
            let (standing, pause) = match self.step().await {
                Ok(Step::Lose(lost)) => return lost,
                Ok(Step::Wait { leader }) => (Standing::StandingBy { leader }, LOOK),
                Ok(Step::Create | Step::Take | Step::Renew) => (Standing::Leading, RENEW),
                Err(error) => self.failed(&error),
            };
            self.metrics.leader.set(self.leadership.leads().into());
            let line = standing.to_string();
            if self.leadership.stand(standing) {
                tracing::info!(lease = NAME, identity = %self.me, "{line}");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks, decides and does it.
    async fn step(&mut self) -> Result<Step, Error> {
        if !self.sure {
            self.look().await?;
        }
        let record = self.known.as_ref().map(|known| Record::of(&known.lease));
        let unchanged = self.known.as_ref().map_or(Duration::ZERO, |known| clock::boot().saturating_sub(known.since));
        let step = decide(record.as_ref(), unchanged, &self.me, self.held);
        if matches!(step, Step::Create | Step::Take | Step::Renew) {
            self.write(&step).await?;
        }
        self.trouble = None;
        Ok(step)
    }

    async fn look(&mut self) -> Result<(), Error> {
        let found = call(format!("get Lease {NAME}"), self.api.get_opt(NAME)).await?;
        // only after the answer: what was stored by then is not older
        let now = clock::boot();
        let before = self.known.take();
        self.known = found.map(|lease| match before {
            Some(known) if known.lease.metadata.resource_version == lease.metadata.resource_version => known,
            _ => Known { lease, since: now },
        });
        Ok(())
    }

    async fn write(&mut self, step: &Step) -> Result<(), Error> {
        self.sure = false;
        let lease = ours(self.known.as_ref().map(|known| &known.lease), step, &self.me);
        let sent = clock::boot();
        let parameters = PostParams::default();
        let written = match step {
            Step::Create => call(format!("create Lease {NAME}"), self.api.create(&parameters, &lease)).await?,
            _ => call(format!("update Lease {NAME}"), self.api.replace(NAME, &parameters, &lease)).await?,
        };
        self.leadership.lead_until(sent + DEADLINE);
        self.known = Some(Known { lease: written, since: sent });
        self.sure = true;
        self.held = true;
        Ok(())
    }

    /// Where we stand after a failure, and how long to pause.
    fn failed(&mut self, error: &Error) -> (Standing, Duration) {
        let (class, leads) = (error.class(), self.leadership.leads());
        self.metrics.lease_failed(class);
        if class == Class::Conflict {
            tracing::debug!(lease = NAME, %error, "another wrote the lease first");
            return (self.leadership.0.standing.borrow().clone(), AGAIN);
        }
        let why = error.to_string();
        if self.trouble.as_ref() != Some(&why) {
            tracing::warn!(lease = NAME, class = class.word(), %error, leads, "the lease cannot be read or renewed");
            self.trouble = Some(why.clone());
        }
        (if leads { Standing::Leading } else { Standing::Unknown { why } }, LOOK)
    }

    /// Empties the lease, so that whoever stands by need not wait for its end.
    async fn release(&mut self) {
        for _ in 0..2 {
            match self.try_release().await {
                Ok(()) => return tracing::info!(lease = NAME, "released"),
                Err(error) if error.class() == Class::Conflict => {}
                Err(error) => {
                    let class = error.class().word();
                    return tracing::warn!(lease = NAME, class, %error, "not released; another leads when it ends");
                }
            }
        }
    }

    async fn try_release(&mut self) -> Result<(), Error> {
        // a renewal may have been cut off
        self.look().await?;
        let Some(known) = self.known.as_ref().filter(|known| Record::of(&known.lease).holder.as_ref() == Some(&self.me)) else {
            return Ok(());
        };
        let mut lease = known.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(now());
        }
        call(format!("update Lease {NAME}"), self.api.replace(NAME, &PostParams::default(), &lease)).await.map(drop)
    }
}

/// The lease with us as its holder. What else is on it stays.
fn ours(before: Option<&Lease>, step: &Step, me: &str) -> Lease {
    let mut lease = before
        .cloned()
        .unwrap_or_else(|| Lease { metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() }, spec: None });
    let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
    if *step != Step::Renew {
        let transitions = spec.lease_transitions.unwrap_or(0);
        spec.lease_transitions = Some(if before.is_some() { transitions.saturating_add(1) } else { 0 });
        spec.acquire_time = Some(now());
    }
    spec.holder_identity = Some(me.to_owned());
    spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
    spec.renew_time = Some(now());
    lease
}

/// For people; nobody decides by it.
fn now() -> MicroTime {
    MicroTime(jiff::Timestamp::now())
}
