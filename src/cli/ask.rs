//! What a person asks of the worker of a destination, and its answer.

use super::connect::{Bus, Connection};
use super::names::{Named, Target};
use super::plugin::Where;
use super::setting::Time;
use crate::bus::routing::{self, Ask};
use crate::bus::state::{self, Snapshot};
use crate::bus::{Link, lease};
use anyhow::bail;
use std::time::Duration;

/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// What `retry` and `skip` have in common.
#[derive(Debug, clap::Args)]
pub struct Asking {
    #[command(flatten)]
    target: Target,
    /// How long to wait for the worker
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Time,
    #[command(flatten)]
    connection: Connection,
}

/// A destination of which something can be asked.
pub struct Asked {
    /// The destination.
    pub named: Named,
    /// What it was like before.
    pub before: Snapshot,
    bus: Bus,
    link: Link,
    timeout: Duration,
}

impl Asking {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        self.connection.runs(Where::Pod { stdin: false, namespace: self.target.is_bare() })
    }

    /// Finds the destination and how it does now.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, or there is no such destination.
    pub async fn open(&self) -> anyhow::Result<Asked> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let named = self.target.find(&link, &bus.name).await?;
        let before = state::snapshot(&link, &bus.name, &named.uid).await?;
        Ok(Asked { named, before, bus, link, timeout: self.timeout.0 })
    }
}

impl Asked {
    /// Connection and bus.
    pub fn place(&self) -> (&Link, &str) {
        (&self.link, &self.bus.name)
    }

    /// Asks the worker and waits for its answer; what the destination was like when it came.
    ///
    /// # Errors
    /// If the destination is gone, Redis does not answer, or the worker does not in time.
    pub async fn ask(&self, ask: Ask) -> anyhow::Result<Snapshot> {
        let (nonce, name) = (lease::random_token(), &self.named.full_name);
        if !routing::ask(&self.link, &self.bus.name, &self.named.uid, ask, &nonce).await? {
            bail!("{name} was deleted this very moment");
        }
        let deadline = tokio::time::Instant::now() + self.timeout;
        loop {
            let now = self.now().await?;
            if now.asked.as_deref() == Some(&nonce) {
                return Ok(now);
            }
            if tokio::time::Instant::now() >= deadline {
                let state = now.state.unwrap_or_else(|| "no state reported".to_owned());
                bail!(
                    "the worker of {name} ({state}) has not answered within {:?}; the request stays with it, `posthorn get {name}` shows what becomes of it",
                    self.timeout
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the destination is like now.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn now(&self) -> anyhow::Result<Snapshot> {
        Ok(state::snapshot(&self.link, &self.bus.name, &self.named.uid).await?)
    }
}
