//! What a process waits for before it is ready.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Everything that one process waits for. Cheap to clone.
///
/// A process is ready when every gate is open, and it is not draining. Without any gate it has not even begun.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    gates: Vec<(&'static str, Found)>,
    draining: bool,
}

/// What a gate is like: open, with something to tell besides or nothing; or why it is closed.
type Found = Result<String, String>;

/// One thing that a process waits for. Closed at first; dropping it leaves it as it is.
#[derive(Clone, Debug)]
pub struct Gate {
    all: Readiness,
    name: &'static str,
}

impl Readiness {
    /// The gate of that name; closed when it is new.
    pub fn gate(&self, name: &'static str) -> Gate {
        let mut state = self.lock();
        if state.gates.iter().all(|(known, _)| *known != name) {
            state.gates.push((name, Err("starting".to_owned())));
        }
        Gate { all: self.clone(), name }
    }

    /// Makes the process not ready for good: it is going to end.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Whether the process is ready.
    pub fn is_ready(&self) -> bool {
        let state = self.lock();
        !state.draining && !state.gates.is_empty() && state.gates.iter().all(|(_, found)| found.is_ok())
    }

    /// A line for each gate: `[+]redis ok`, `[+]lease ok: standing by` or `[-]redis: connection refused`.
    pub fn report(&self) -> String {
        let state = self.lock();
        let mut text = String::new();
        if state.gates.is_empty() {
            text.push_str("[-]process: starting\n");
        }
        for (name, found) in &state.gates {
            let _ = match found {
                Ok(told) if told.is_empty() => writeln!(text, "[+]{name} ok"),
                Ok(told) => writeln!(text, "[+]{name} ok: {told}"),
                Err(reason) => writeln!(text, "[-]{name}: {reason}"),
            };
        }
        if state.draining {
            text.push_str("[-]shutdown: draining\n");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// What it was waiting for is there.
    pub fn set_ready(&self) {
        self.set(Ok(String::new()));
    }

    /// It is there, and there is something to tell of it: one line for a person.
    pub fn set_ready_as(&self, told: impl Into<String>) {
        self.set(Ok(told.into()));
    }

    /// It waits, for this reason: one line for a person, without credentials.
    pub fn set_waiting(&self, reason: impl Into<String>) {
        self.set(Err(reason.into().replace(['\n', '\r'], " ")));
    }

    /// As a check found it.
    pub fn set_result(&self, result: Result<(), String>) {
        match result {
            Ok(()) => self.set_ready(),
            Err(reason) => self.set_waiting(reason),
        }
    }

    fn set(&self, found: Found) {
        let mut state = self.all.lock();
        if let Some(gate) = state.gates.iter_mut().find(|(name, _)| *name == self.name) {
            if gate.1.is_ok() != found.is_ok() {
                tracing::info!(gate = self.name, waiting = found.as_ref().err(), "readiness changed");
            }
            gate.1 = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_gate_is_open() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready(), "nothing has begun");
        assert_eq!(readiness.report(), "[-]process: starting\n");
        let (redis, plans) = (readiness.gate("redis"), readiness.gate("plans"));
        redis.set_ready();
        plans.set_waiting("no plan\nread yet");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report(), "[+]redis ok\n[-]plans: no plan read yet\n");
        plans.set_ready_as("3 plans");
        assert_eq!(readiness.report(), "[+]redis ok\n[+]plans ok: 3 plans\n");
        assert!(readiness.is_ready());
    }

    #[test]
    fn the_same_name_is_the_same_gate() {
        let readiness = Readiness::default();
        readiness.gate("redis").set_ready();
        readiness.gate("redis");
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_draining_process_is_never_ready_again() {
        let readiness = Readiness::default();
        let gate = readiness.gate("redis");
        readiness.drain();
        gate.set_ready();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report(), "[+]redis ok\n[-]shutdown: draining\n");
    }
}
