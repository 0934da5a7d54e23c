//! Whose lease it is, and what follows. Pure.

use k8s_openapi::api::coordination::v1::Lease;
use std::time::Duration;

/// How long a lease holds without renewal, where its record does not say.
pub const LEASE: Duration = Duration::from_secs(15);

/// The lease as we last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` if it was released.
    pub holder: Option<String>,
    /// How long it holds without renewal.
    pub duration: Duration,
}

impl Record {
    /// What an object says.
    pub fn of(lease: &Lease) -> Record {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        Record { holder: spec.holder_identity.filter(|holder| !holder.is_empty()), duration: seconds.map_or(LEASE, Duration::from_secs) }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody ever held it: create it.
    Create,
    /// It was released, or its holder is gone: take it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Another holds it: look again later.
    Wait {
        /// Who.
        leader: String,
    },
    /// We held it and do not any more: end.
    Lose(Lost),
}

/// The lease is not ours any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another took it, because we did not renew in time.
    #[error("the lease was lost: {0} leads now")]
    Taken(String),
    /// It was emptied, by another that held it meanwhile or by a person.
    #[error("the lease was lost: it was released, not by us")]
    Released,
    /// The object was deleted.
    #[error("the lease was lost: its object was deleted")]
    Deleted,
}

/// What to do about the lease. `unchanged` is how long its record has been the same in our own eyes, by our own clock: the times in it are of the
/// holder's clock, which may be wrong. `held` says whether this process has held it.
pub fn decide(record: Option<&Record>, unchanged: Duration, me: &str, held: bool) -> Step {
    let Some(record) = record else {
        return if held { Step::Lose(Lost::Deleted) } else { Step::Create };
    };
    match &record.holder {
        Some(holder) if holder == me => Step::Renew,
        Some(holder) if held => Step::Lose(Lost::Taken(holder.clone())),
        None if held => Step::Lose(Lost::Released),
        Some(holder) if unchanged < record.duration => Step::Wait { leader: holder.clone() },
        Some(_) | None => Step::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::LeaseSpec;

    const ME: &str = "posthorn-1_a";

    fn record(holder: &str) -> Record {
        let spec = LeaseSpec { holder_identity: Some(holder.to_owned()), lease_duration_seconds: Some(15), ..LeaseSpec::default() };
        Record::of(&Lease { spec: Some(spec), ..Lease::default() })
    }

    #[test]
    fn each_case_has_its_step() {
        let other = "posthorn-2_b";
        let wait = || Step::Wait { leader: other.to_owned() };
        let table = [
            ("nobody ever held it", None, 0, false, Step::Create),
            ("it was deleted under us", None, 0, true, Step::Lose(Lost::Deleted)),
            ("it was released", Some(""), 0, false, Step::Take),
            ("it was released under us", Some(""), 0, true, Step::Lose(Lost::Released)),
            ("it is ours", Some(ME), 0, true, Step::Renew),
            ("it is ours though we did not renew it for long", Some(ME), 3_600, true, Step::Renew),
            ("it is ours though we had no answer to our first write", Some(ME), 0, false, Step::Renew),
            ("another holds it", Some(other), 0, false, wait()),
            ("another holds it still", Some(other), 14, false, wait()),
            ("another did not renew it", Some(other), 15, false, Step::Take),
            ("another took it from us", Some(other), 0, true, Step::Lose(Lost::Taken(other.to_owned()))),
            ("another took it from us and is gone", Some(other), 60, true, Step::Lose(Lost::Taken(other.to_owned()))),
        ];
        for (case, holder, unchanged, held, expected) in table {
            let record = holder.map(record);
            assert_eq!(decide(record.as_ref(), Duration::from_secs(unchanged), ME, held), expected, "{case}");
        }
    }

    #[test]
    fn the_same_pod_after_a_restart_is_another() {
        assert_eq!(decide(Some(&record("posthorn-1_z")), Duration::ZERO, ME, false), Step::Wait { leader: "posthorn-1_z".to_owned() });
    }

    #[test]
    fn a_record_without_a_duration_holds_as_long_as_ours() {
        let mut lease = Lease::default();
        assert_eq!(Record::of(&lease), Record { holder: None, duration: LEASE });
        lease.spec = Some(LeaseSpec { lease_duration_seconds: Some(-1), ..LeaseSpec::default() });
        assert_eq!(Record::of(&lease).duration, LEASE);
    }
}
