//! The roles of one process: run together, ended one after the other.

use crate::shutdown::Shutdown;
use std::fmt::Display;
use tokio::task::{JoinError, JoinHandle};
use tracing::{error, info};

/// The roles that run, in the order in which they shall end.
#[derive(Default)]
pub struct Roles(Vec<Role>);

struct Role {
    name: &'static str,
    stop: Box<dyn FnOnce() + Send>,
    task: JoinHandle<Result<(), String>>,
}

/// A role that should have gone on.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended: {reason}")]
pub struct Ended {
    name: &'static str,
    reason: String,
}

impl Roles {
    /// Starts a role; `stop` tells it to end in order.
    pub fn start<E: Display>(
        &mut self,
        name: &'static str,
        stop: impl FnOnce() + Send + 'static,
        role: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let task = tokio::spawn(async { role.await.map_err(|error| error.to_string()) });
        self.0.push(Role { name, stop: Box::new(stop), task });
    }

    /// Runs until `shutdown`, or until a role ends by itself; then ends the others, each before the next.
    ///
    /// # Errors
    /// The role that ended by itself, and why.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Ended> {
        let ended = tokio::select! {
            (result, index, _) = futures::future::select_all(self.0.iter_mut().map(|role| &mut role.task)) => Some((result, index)),
            () = shutdown.begun() => None,
        };
        let outcome = match ended {
            Some((result, index)) => {
                Err(Ended { name: self.0.remove(index).name, reason: reason(result).unwrap_or("for no reason".to_owned()) })
            }
            None => Ok(()),
        };
        for role in self.0 {
            (role.stop)();
            match reason(role.task.await) {
                None => info!(role = role.name, "ended"),
                Some(reason) => error!(role = role.name, reason, "ended"),
            }
        }
        outcome
    }
}

fn reason(result: Result<Result<(), String>, JoinError>) -> Option<String> {
    match result {
        Ok(Ok(())) => None,
        Ok(Err(reason)) => Some(reason),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Starts roles that write their names down when they end.
    fn roles(names: [&'static str; 3]) -> (Roles, Arc<Mutex<Vec<&'static str>>>) {
        let (mut roles, ends) = (Roles::default(), Arc::new(Mutex::new(Vec::new())));
        for name in names {
            let (stop, ends) = (Shutdown::new(), Arc::clone(&ends));
            let role = {
                let stop = stop.clone();
                async move {
                    stop.begun().await;
                    ends.lock().expect("no panic while held").push(name);
                    Ok::<_, String>(())
                }
            };
            roles.start(name, move || stop.begin(), role);
        }
        (roles, ends)
    }

    #[tokio::test]
    async fn they_end_one_after_the_other() {
        let (roles, ends) = roles(["a", "b", "c"]);
        let shutdown = Shutdown::new();
        shutdown.begin();
        roles.run(&shutdown).await.expect("they were told to");
        assert_eq!(*ends.lock().expect("no panic while held"), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn one_that_fails_ends_the_others_and_is_named() {
        let (mut roles, ends) = roles(["a", "b", "c"]);
        roles.start("d", || {}, async { Err("no more".to_owned()) });
        let error = roles.run(&Shutdown::new()).await.expect_err("one failed");
        assert_eq!(error.to_string(), "d ended: no more");
        assert_eq!(*ends.lock().expect("no panic while held"), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_panic_is_an_end_too() {
        let (mut roles, _) = roles(["a", "b", "c"]);
        roles.start("d", || {}, async { if true { panic!("on purpose") } else { Ok::<_, String>(()) } });
        let error = roles.run(&Shutdown::new()).await.expect_err("one panicked");
        assert!(error.to_string().contains("on purpose"), "{error}");
    }
}
