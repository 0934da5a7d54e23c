//! From what is known of a destination to its status. Pure, and without the present time: the same facts make the same bytes.
//!
//! Each condition carries the generation that it is about, and `kubectl wait` believes a condition only if that is the present one. So what is
//! still of an earlier version (its worker goes on while the new spec is refused, say) keeps the earlier generation.

use crate::api::EventDestinationStatus;
use crate::api::status::{Condition, ConditionStatus, Head};
use crate::bus::state::Snapshot;
use crate::operator::board::entry::{Applied, Entry, Outcome, REDIS_UNAVAILABLE, Safety, Storage};
use crate::plan::Route;
use crate::status::{self, Finding, Worker};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Longest message of a condition, characters.
const MAX_MESSAGE: usize = 1024;

/// The status of a destination. `trouble`: what is wrong with the Deployment of its worker.
pub fn make(entry: &Entry, storage: &Storage, trouble: Option<&str>) -> EventDestinationStatus {
    let snapshot = entry.snapshot.as_ref();
    let held = snapshot.and_then(|snapshot| snapshot.route.as_ref());
    let applied = entry.applied.as_ref();
    let route = match &entry.outcome {
        Outcome::Applied(applied) => Some(&applied.route),
        _ => held.or(applied.map(|applied| &applied.route)),
    };
    let unreachable = match storage {
        Storage::Unreachable { message, .. } => Some(message.as_str()),
        Storage::Unknown | Storage::Reachable { .. } => None,
    };
    whole_seconds(Facts { entry, storage, trouble, snapshot, held, route, unreachable }.status())
}

struct Facts<'a> {
    entry: &'a Entry,
    storage: &'a Storage,
    trouble: Option<&'a str>,
    snapshot: Option<&'a Snapshot>,
    /// The route that Redis held when last looked at.
    held: Option<&'a Route>,
    /// The version of the destination that the outcome, or else Redis, has in force.
    route: Option<&'a Route>,
    /// Why Redis does not answer.
    unreachable: Option<&'a str>,
}

/// What was found, and of which generation.
type Found = (Finding, i64);

impl Facts<'_> {
    fn status(&self) -> EventDestinationStatus {
        let former = &self.entry.status;
        let figures = match (self.snapshot, self.route) {
            (Some(snapshot), Some(route)) => status::figures(snapshot, route),
            // never looked at since this process began: what was known goes on
            (None, route) => EventDestinationStatus {
                sink_uri: route.map(|route| route.sink_uri.clone()).or_else(|| former.sink_uri.clone()),
                ..former.clone()
            },
            (Some(_), None) => EventDestinationStatus::default(),
        };
        EventDestinationStatus {
            observed_generation: match self.entry.outcome {
                Outcome::Applied(_) | Outcome::Rejected { .. } => Some(self.entry.generation),
                Outcome::Failed { .. } | Outcome::Paused => former.observed_generation,
            },
            conditions: self.conditions(),
            worker: self.entry.applied.as_ref().map(|applied| applied.worker.clone()).or_else(|| former.worker.clone()),
            // written once: it is what a lost queue is made again from
            start_sequence: former.start_sequence.clone().or_else(|| figures.start_sequence.clone()),
            ..figures
        }
    }

    fn conditions(&self) -> Vec<Condition> {
        let needed = [
            ("Accepted", self.accepted()),
            ("Resolved", self.resolved()),
            ("Routed", self.routed()),
            ("WorkerAvailable", self.worker_available()),
        ];
        let delivering = self.delivering();
        let generation = if self.entry.outcome == Outcome::Paused { self.in_force() } else { self.entry.generation };
        let ready = (self.ready(&needed, &delivering.0), generation);
        let mut found = vec![("Ready", ready)];
        found.extend(needed);
        found.extend(self.keeping_up().map(|found| ("KeepingUp", found)));
        found.push(("Delivering", delivering));
        found.extend(self.dead_letter_target().map(|found| ("DeadLetterTarget", found)));
        found.push(("StorageSafe", (self.storage_safe(), self.entry.generation)));
        found.extend(self.data_lost().map(|found| ("DataLost", found)));
        found.extend(self.paused().map(|found| ("ReconciliationPaused", found)));
        found.into_iter().map(|(kind, found)| self.condition(kind, found)).collect()
    }

    /// A condition whose status did not change keeps its time. Else it changed when Redis says so, or with the newest fact.
    fn condition(&self, kind: &str, (finding, generation): Found) -> Condition {
        let former = self.former(kind);
        let created = self.route.map(status::created);
        let since = match former {
            // the epoch: only the schema's default has spoken so far
            Some(former) if former.status == finding.status && former.last_transition_time.0 != Timestamp::UNIX_EPOCH => {
                former.last_transition_time.clone()
            }
            _ if created.is_some_and(|created| created < finding.since)
                && former.is_none_or(|former| former.last_transition_time < finding.since) =>
            {
                finding.since.clone()
            }
            _ => self.newest(),
        };
        let message = finding.message.chars().take(MAX_MESSAGE).collect();
        Finding { since, message, ..finding }.condition(kind, generation)
    }

    fn former(&self, kind: &str) -> Option<&Condition> {
        self.entry.status.conditions.iter().find(|condition| condition.r#type == kind)
    }

    /// The time of the newest fact.
    fn newest(&self) -> Time {
        let storage = match self.storage {
            Storage::Unknown => Timestamp::UNIX_EPOCH,
            Storage::Reachable { since, .. } | Storage::Unreachable { since, .. } => *since,
        };
        let seen = self.snapshot.map_or(Timestamp::UNIX_EPOCH, |snapshot| status::time(snapshot.now).0);
        Time(self.entry.since.max(storage).max(seen))
    }

    /// A finding whose time only a former status tells.
    fn finding(&self, status: ConditionStatus, reason: &str, message: impl Into<String>) -> Finding {
        Finding::new(status, reason, message, Time(Timestamp::UNIX_EPOCH))
    }

    fn is(&self, reason: &str, message: impl Into<String>) -> Found {
        (self.finding(ConditionStatus::True, reason, message), self.entry.generation)
    }

    fn is_not(&self, reason: &str, message: impl Into<String>) -> Found {
        (self.finding(ConditionStatus::False, reason, message), self.entry.generation)
    }

    fn unknown(&self, reason: &str, message: impl Into<String>) -> Found {
        (self.finding(ConditionStatus::Unknown, reason, message), self.entry.generation)
    }

    /// Nothing of this destination is in force.
    fn nothing_yet(&self) -> Found {
        match &self.entry.outcome {
            Outcome::Rejected { .. } => self.unknown("NotAccepted", "the spec is not accepted"),
            Outcome::Paused => self.unknown("Paused", "reconciliation is paused"),
            Outcome::Applied(_) | Outcome::Failed { .. } => self.unknown("Pending", "not yet"),
        }
    }

    /// What was applied, if that is this generation.
    fn applied(&self) -> Option<&Applied> {
        match &self.entry.outcome {
            Outcome::Applied(applied) => Some(applied),
            _ => self.entry.applied.as_ref().filter(|applied| applied.route.rev == self.entry.generation),
        }
    }

    /// Whether this generation was applied before, by this process or an earlier one.
    fn was_applied(&self) -> bool {
        let accepted = || self.former("Accepted").is_some_and(|former| former.status == ConditionStatus::True);
        self.applied().is_some() || (self.entry.status.observed_generation == Some(self.entry.generation) && accepted())
    }

    /// The generation that is in force.
    fn in_force(&self) -> i64 {
        self.route.map_or(self.entry.generation, |route| route.rev)
    }

    fn accepted(&self) -> Found {
        match &self.entry.outcome {
            Outcome::Applied(_) | Outcome::Failed { .. } => self.is("Accepted", ""),
            Outcome::Rejected { reason, message } => self.is_not(reason, message),
            Outcome::Paused => match (self.former("Accepted"), self.route) {
                (Some(former), _) => {
                    let generation = former.observed_generation.unwrap_or(self.entry.generation);
                    (self.finding(former.status, &former.reason, former.message.clone()), generation)
                }
                (None, Some(route)) => (self.is("Accepted", "").0, route.rev),
                (None, None) => self.nothing_yet(),
            },
        }
    }

    fn resolved(&self) -> Found {
        match self.route {
            Some(route) => (status::resolved(route), self.in_force()),
            None => self.nothing_yet(),
        }
    }

    fn routed(&self) -> Found {
        if let Some(why) = self.unreachable {
            return self.unknown(REDIS_UNAVAILABLE, why);
        }
        let generation = self.entry.generation;
        match (&self.entry.outcome, self.held) {
            (Outcome::Applied(_) | Outcome::Failed { .. }, Some(held)) if held.rev == generation => {
                (status::routed(self.snapshot, held), generation)
            }
            (Outcome::Failed { reason, message }, _) => self.is_not(reason, message),
            (Outcome::Applied(_), Some(held)) => self.unknown("Pending", format!("Redis still holds the route of generation {}", held.rev)),
            (Outcome::Applied(_), None) if self.snapshot.is_some() => {
                self.is_not("RouteMissing", "someone deleted its route from Redis; it is made again")
            }
            (Outcome::Rejected { .. }, None) => self.is_not("NotAccepted", "the spec is not accepted"),
            (Outcome::Applied(_) | Outcome::Paused, None) => self.nothing_yet(),
            (Outcome::Rejected { .. } | Outcome::Paused, Some(held)) => (status::routed(self.snapshot, held), held.rev),
        }
    }

    fn worker_available(&self) -> Found {
        if let Some(why) = self.unreachable {
            return self.unknown(REDIS_UNAVAILABLE, why);
        }
        let (Some(snapshot), Some(route)) = (self.snapshot, self.route) else { return self.nothing_yet() };
        let worker = status::worker(snapshot);
        if let Outcome::Failed { reason, message } = &self.entry.outcome
            && *reason != REDIS_UNAVAILABLE
            && !self.was_applied()
        {
            return self.is_not(reason, message);
        }
        let generation = self.in_force();
        let (finding, _) = match worker {
            Worker::Runs(_) if self.runs_the_plan() => return (status::worker_available(snapshot, route), generation),
            Worker::Runs(_) => self.in_trouble("its worker does not run this version yet"),
            _ if route.suspend => self.is("NotWanted", "delivery is suspended"),
            _ if route.unresolved.is_some() => self.unknown("NotResolved", "no worker may run it before what it refers to is found"),
            Worker::NotYet => self.in_trouble("no worker has run it yet"),
            Worker::Gone if self.trouble.is_some() => self.in_trouble(""),
            Worker::Gone => (status::worker_available(snapshot, route), generation),
        };
        (finding, generation)
    }

    fn in_trouble(&self, pending: &str) -> Found {
        match self.trouble {
            Some(trouble) => self.is_not("WorkerUnavailable", trouble),
            None => self.unknown("Pending", pending),
        }
    }

    /// Whether the worker reports the plan that was applied. Which that is, is not known of an earlier version.
    fn runs_the_plan(&self) -> bool {
        let reported = self.snapshot.and_then(|snapshot| snapshot.plan.as_ref());
        match self.applied() {
            Some(Applied { plan, .. }) => plan.is_some() && plan.as_ref() == reported,
            None => true,
        }
    }

    fn keeping_up(&self) -> Option<Found> {
        if let Some(why) = self.unreachable {
            return Some(self.unknown(REDIS_UNAVAILABLE, why));
        }
        Some((status::keeping_up(self.snapshot?, self.route?), self.in_force()))
    }

    fn dead_letter_target(&self) -> Option<Found> {
        let (snapshot, route) = (self.snapshot?, self.route?);
        route.dead_letters_to.as_ref()?;
        if let Some(why) = self.unreachable {
            return Some(self.unknown(REDIS_UNAVAILABLE, why));
        }
        // what was read may be older than the route
        let of_this = self.held.is_some_and(|held| held.dead_letters_to == route.dead_letters_to);
        if !of_this {
            return Some(self.unknown("Pending", "not looked for yet"));
        }
        Some((status::dead_letter_target(snapshot, route)?, self.in_force()))
    }

    fn delivering(&self) -> Found {
        let former = self.former("Delivering").and_then(|former| former.observed_generation);
        if let Some(why) = self.unreachable {
            return self.unknown(REDIS_UNAVAILABLE, why);
        }
        let (Some(snapshot), Some(route)) = (self.snapshot, self.route) else {
            let (finding, generation) = self.nothing_yet();
            return (Finding { reason: "Pending".to_owned(), ..finding }, generation);
        };
        let mut finding = status::delivering(snapshot, route);
        match status::worker(snapshot) {
            // it goes on with the earlier version
            Worker::Runs(_) if !self.runs_the_plan() => return (finding, former.unwrap_or(self.in_force())),
            Worker::Runs(_) => {}
            Worker::Gone | Worker::NotYet => {
                if let (Some(missing), false) = (&route.unresolved, route.suspend) {
                    finding.message.clone_from(&missing.message);
                }
            }
        }
        (finding, self.in_force())
    }

    fn storage_safe(&self) -> Finding {
        let not_checked = || match self.former("StorageSafe") {
            Some(former) if former.reason != REDIS_UNAVAILABLE => self.finding(former.status, &former.reason, former.message.clone()),
            _ => self.finding(ConditionStatus::Unknown, "Pending", "not checked yet"),
        };
        match self.storage {
            Storage::Unknown => not_checked(),
            Storage::Unreachable { message, .. } => self.finding(ConditionStatus::Unknown, REDIS_UNAVAILABLE, message),
            Storage::Reachable { safety, .. } => match safety {
                None => not_checked(),
                Some(Safety::Safe) => self.finding(ConditionStatus::True, "Safe", ""),
                Some(Safety::Unverified { message }) => self.finding(ConditionStatus::Unknown, "Unverified", message),
                Some(Safety::Unsafe { reason, message }) => self.finding(ConditionStatus::False, reason, message),
            },
        }
    }

    fn data_lost(&self) -> Option<Found> {
        match self.snapshot {
            Some(snapshot) => Some((status::data_lost(snapshot)?, self.in_force())),
            None => {
                let former = self.former("DataLost")?;
                Some((self.finding(former.status, &former.reason, former.message.clone()), self.in_force()))
            }
        }
    }

    fn paused(&self) -> Option<Found> {
        let message = "the annotation posthorn.dev/paused is on it: changes of it wait, what runs goes on";
        (self.entry.outcome == Outcome::Paused).then(|| self.is("Paused", message))
    }

    /// All that is needed holds, and it is not at rest because it fails. The message names all that is missing.
    fn ready(&self, needed: &[(&str, Found)], delivering: &Finding) -> Finding {
        let missing = |status| needed.iter().find(move |(_, (finding, _))| finding.status == status).map(|(_, (finding, _))| finding);
        // more telling than what is unknown because of it
        let unavailable = || needed.iter().map(|(_, (finding, _))| finding).find(|finding| finding.reason == REDIS_UNAVAILABLE);
        match missing(ConditionStatus::False).or_else(unavailable).or_else(|| missing(ConditionStatus::Unknown)) {
            Some(first) => self.finding(first.status, &first.reason, missing_text(needed)),
            None if matches!(delivering.reason.as_str(), "Halted" | "Blocked" | "KeyBacklogFull") => delivering.clone(),
            None => self.finding(ConditionStatus::True, "Ready", ""),
        }
    }
}

/// `Resolved: there is no Secret x; WorkerAvailable: …`, each cause once.
fn missing_text(needed: &[(&str, Found)]) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut causes: Vec<(&str, &str)> = Vec::new();
    for (kind, (finding, _)) in needed {
        let cause = (finding.reason.as_str(), finding.message.as_str());
        if finding.status == ConditionStatus::True || causes.contains(&cause) {
            continue;
        }
        causes.push(cause);
        texts.push(if cause.1.is_empty() { format!("{kind}: {}", cause.0) } else { format!("{kind}: {}", cause.1) });
    }
    texts.join("; ")
}

/// Times as an API server keeps them, so that what was written equals what is read.
fn whole_seconds(mut status: EventDestinationStatus) -> EventDestinationStatus {
    let cut = |time: &mut Time| time.0 = Timestamp::from_second(time.0.as_second()).unwrap_or(time.0);
    status.conditions.iter_mut().for_each(|condition| cut(&mut condition.last_transition_time));
    let EventDestinationStatus { oldest_pending_time, last_delivery_time, last_match_time, head, .. } = &mut status;
    [oldest_pending_time, last_delivery_time, last_match_time].into_iter().flatten().for_each(cut);
    if let Some(Head { first_attempt_time, next_attempt_time, .. }) = head {
        [first_attempt_time, next_attempt_time].into_iter().flatten().for_each(cut);
    }
    status
}

#[cfg(test)]
mod tests;
