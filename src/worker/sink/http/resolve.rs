//! From a name to addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Most look-ups at one time in a process: a slow name server must not use up the threads for blocking work.
const MAX_LOOKUPS: usize = 64;

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Resolves names. Cheap to clone; clones share the bound on look-ups.
#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<Lookup>,
    permits: Arc<Semaphore>,
}

impl Resolver {
    /// The system's resolver (`getaddrinfo`), which knows `/etc/hosts`, search domains and the cluster's DNS.
    pub fn system() -> Resolver {
        Resolver::new(|name| {
            // hosts files know it without the dot only, and to a name server it means nothing (RFC 6761, section 6.3)
            let name = if name == "localhost." { "localhost" } else { name };
            Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
        })
    }

    /// Resolves with a function that may block.
    pub fn new(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver { lookup: Arc::new(lookup), permits: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// All addresses of a name. Dropping the future does not end a look-up that has begun, so its permit goes with the look-up.
    pub(super) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (lookup, name) = (self.lookup.clone(), name.to_owned());
        let looked_up = spawn_blocking(move || {
            let _permit = permit;
            lookup(&name)
        });
        looked_up.await.map_err(io::Error::other)?
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
