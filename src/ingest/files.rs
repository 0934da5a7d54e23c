//! File descriptors: each connection takes one.

use super::IngestConfig;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Kept for everything that is no connection of a client.
const OTHERS: u64 = 256;

/// Raises the soft limit of open files to the hard one, and keeps the connections within it.
pub(super) fn fit(config: IngestConfig) -> IngestConfig {
    let files = raise_limit();
    let room = usize::try_from(files.saturating_sub(OTHERS)).unwrap_or(usize::MAX).max(1);
    if room >= config.max_connections {
        return config;
    }
    let wanted = config.max_connections;
    tracing::warn!(
        open_files = files,
        wanted,
        max_connections = room,
        "the limit of open files allows fewer connections: raise it (ulimit -n)"
    );
    within(config, room)
}

/// So that one address still leaves a quarter to the others.
fn within(config: IngestConfig, room: usize) -> IngestConfig {
    let per_address = config.max_connections_per_address.min((room / 4 * 3).max(1));
    IngestConfig { max_connections: room, max_connections_per_address: per_address, ..config }
}

fn raise_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    // not allowed in some sandboxes; then the soft limit stays
    let reached = if setrlimit(Resource::Nofile, limit).is_ok() { limit.maximum } else { soft };
    reached.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_keep_within_the_open_files() {
        let config = within(IngestConfig::default(), 768);
        assert_eq!((config.max_connections, config.max_connections_per_address), (768, 576));
    }
}
