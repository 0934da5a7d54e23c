//! What is worth an Event: a comparison of the status that an object had with the one it has now. Pure.

use crate::api::EventDestinationStatus;
use crate::api::status::{Condition, ConditionStatus};
use crate::operator::board::entry::REDIS_UNAVAILABLE;

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Something is not as it should be.
    pub warning: bool,
    /// One word in CamelCase.
    pub reason: String,
    /// What was done, one word in CamelCase.
    pub action: &'static str,
    /// For a person.
    pub message: String,
}

impl Note {
    /// Nothing to worry about.
    pub fn normal(reason: impl Into<String>, action: &'static str, message: impl Into<String>) -> Note {
        Note { warning: false, reason: reason.into(), action, message: message.into() }
    }

    /// Worth a look.
    pub fn warning(reason: impl Into<String>, action: &'static str, message: impl Into<String>) -> Note {
        Note { warning: true, reason: reason.into(), action, message: message.into() }
    }
}

/// What is worth an Event between two statuses of one object. While Redis did not answer nothing of delivery is known, so its return is none.
pub fn notes(former: &EventDestinationStatus, now: &EventDestinationStatus) -> Vec<Note> {
    let change = Changes { former, now };
    [
        change.rejected(),
        change.unresolved(),
        change.delivery(),
        change.dead_letters(),
        change.waiting(),
        change.late(),
        change.target(),
        change.data_lost(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

struct Changes<'a> {
    former: &'a EventDestinationStatus,
    now: &'a EventDestinationStatus,
}

fn condition<'a>(status: &'a EventDestinationStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.r#type == kind)
}

/// The reason of a condition, where it does not hold.
fn refused<'a>(status: &'a EventDestinationStatus, kind: &str) -> Option<&'a Condition> {
    condition(status, kind).filter(|condition| condition.status == ConditionStatus::False)
}

fn reason<'a>(status: &'a EventDestinationStatus, kind: &str) -> &'a str {
    condition(status, kind).map_or("", |condition| condition.reason.as_str())
}

fn at_rest(reason: &str) -> bool {
    matches!(reason, "Halted" | "Blocked" | "KeyBacklogFull")
}

impl Changes<'_> {
    fn rejected(&self) -> Option<Note> {
        let found = refused(self.now, "Accepted")?;
        let told = refused(self.former, "Accepted").is_some_and(|former| former.reason == found.reason && former.message == found.message);
        (!told).then(|| Note::warning("Rejected", "Validate", format!("{}: {}", found.reason, found.message)))
    }

    fn unresolved(&self) -> Option<Note> {
        let found = refused(self.now, "Resolved")?;
        let told = refused(self.former, "Resolved").is_some_and(|former| former.reason == found.reason && former.message == found.message);
        (!told).then(|| Note::warning(&found.reason, "Resolve", &found.message))
    }

    /// Of Ready and Delivering together: at most one Event.
    fn delivery(&self) -> Option<Note> {
        let (was, is) = (reason(self.former, "Delivering"), condition(self.now, "Delivering")?);
        let (was_ready, ready) = (condition(self.former, "Ready").map(|found| found.status), condition(self.now, "Ready")?);
        let unknown = |reason: &str| reason == REDIS_UNAVAILABLE;
        if unknown(was) || unknown(&is.reason) || reason(self.former, "Ready") == REDIS_UNAVAILABLE {
            return None;
        }
        if at_rest(&is.reason) {
            return (is.reason != was).then(|| Note::warning(&is.reason, "Deliver", &is.message));
        }
        if at_rest(was) && matches!(is.reason.as_str(), "Idle" | "Active" | "RateLimited" | "Retrying") {
            return Some(Note::normal("Resumed", "Deliver", "events are delivered again"));
        }
        match (was_ready, ready.status) {
            (Some(ConditionStatus::True), ConditionStatus::True) => None,
            (_, ConditionStatus::True) => Some(Note::normal("Ready", "Deliver", self.ready_text())),
            (Some(ConditionStatus::True), _) => self.worker_lost(),
            _ => None,
        }
    }

    fn ready_text(&self) -> String {
        match &self.now.sink_uri {
            Some(uri) => format!("events go to {uri}"),
            None => "events are delivered".to_owned(),
        }
    }

    /// It was ready and is not. A new version that its worker does not run yet is no news.
    fn worker_lost(&self) -> Option<Note> {
        let found = refused(self.now, "WorkerAvailable")?;
        Some(Note::warning(&found.reason, "Deliver", &found.message))
    }

    fn dead_letters(&self) -> Option<Note> {
        let (before, now) = (self.former.dead_lettered.unwrap_or(0), self.now.dead_lettered.unwrap_or(0));
        let message = "the first event was given up and is a dead letter now; status.deadLetters counts those that are kept";
        (before == 0 && now > 0).then(|| Note::warning("DeadLettered", "Bury", message))
    }

    fn waiting(&self) -> Option<Note> {
        let found = refused(self.now, "KeepingUp")?;
        // one that begins in the past is behind from its first day
        let kept_up = condition(self.former, "KeepingUp").is_some_and(|former| former.status == ConditionStatus::True);
        kept_up.then(|| Note::warning(&found.reason, "Route", &found.message))
    }

    /// It could not begin as early as it should have.
    fn late(&self) -> Option<Note> {
        let late = |status| condition(status, "Routed").filter(|found| found.status == ConditionStatus::True && !found.message.is_empty());
        let found = late(self.now).filter(|found| late(self.former).is_none_or(|former| former.message != found.message))?;
        Some(Note::warning("StartNotKept", "Route", &found.message))
    }

    /// The destination that dead letters are sent to as well is not there.
    fn target(&self) -> Option<Note> {
        let found = refused(self.now, "DeadLetterTarget")?;
        let told = refused(self.former, "DeadLetterTarget").is_some_and(|former| former.message == found.message);
        (!told).then(|| Note::warning(&found.reason, "Resolve", &found.message))
    }

    fn data_lost(&self) -> Option<Note> {
        let found = condition(self.now, "DataLost")?;
        let more = self.now.lost.unwrap_or(0) > self.former.lost.unwrap_or(0);
        (condition(self.former, "DataLost").is_none() || more).then(|| Note::warning("DataLost", "Repair", &found.message))
    }
}

#[cfg(test)]
mod tests;
