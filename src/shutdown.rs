//! One token that ends everything in order.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status of a process that a second signal ended at once.
const FORCED: i32 = 130;

/// Says when to end. Cheap to clone; every clone sees the same beginning.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// One that only [`Shutdown::begin`] begins.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// One that begins at SIGTERM or SIGINT. A second signal ends the process at once.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Shutdown> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = Shutdown::new();
        tokio::spawn(watch(shutdown.clone(), terminate, interrupt));
        Ok(shutdown)
    }

    /// One that begins with this one, or alone.
    pub fn child(&self) -> Shutdown {
        Shutdown(self.0.child_token())
    }

    /// Begins.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }
}

async fn watch(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    either(&mut terminate, &mut interrupt).await;
    tracing::info!("shutting down; a second signal ends at once");
    shutdown.begin();
    either(&mut terminate, &mut interrupt).await;
    tracing::warn!("ended at once by a second signal");
    std::process::exit(FORCED);
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_begins_with_its_parent_but_not_the_other_way_round() {
        let parent = Shutdown::new();
        let child = parent.child();
        child.begin();
        assert!(child.has_begun() && !parent.has_begun());
        let other = parent.child();
        parent.begin();
        other.begun().await;
    }
}
