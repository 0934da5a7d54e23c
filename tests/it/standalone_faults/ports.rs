//! Only this machine reaches a standalone.

use crate::support::{Posthorn, eventually};
use std::collections::BTreeSet;

/// The TCP addresses on which a process listens, as `/proc/net/tcp` and `tcp6` write them, without ports.
fn listening(pid: u32) -> BTreeSet<String> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = descriptors.filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.display().to_string()));
    let sockets: BTreeSet<String> = links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines()).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // local address, remote address, state (0A: listens), …, inode
    let listens = rows.filter(|row| row.len() > 9 && row[3] == "0A" && sockets.contains(row[9]));
    listens.map(|row| row[1].split(':').next().unwrap().to_owned()).collect()
}

/// 127.0.0.1 as `/proc/net/tcp` writes it.
const LOOPBACK: &str = "0100007F";

#[tokio::test(flavor = "multi_thread")]
async fn by_default_only_this_machine_reaches_it() {
    let dir = tempfile::TempDir::with_prefix("posthorn-faults-").unwrap();
    let (folder, data) = (dir.path().join("folder"), dir.path().join("data"));
    std::fs::create_dir(&folder).unwrap();
    let process = Posthorn::start(&["standalone", folder.to_str().unwrap(), "--data-dir", data.to_str().unwrap()]);
    let log = eventually("a start, or a port that someone else has", async || {
        let log = process.log();
        if log.contains("running") || log.contains("--listen") || log.contains("--admin-listen") { Ok(log) } else { Err(log) }
    })
    .await;
    if !log.contains("running listen=") {
        // Someone has one of the fixed ports; which address was wanted, the message says.
        assert!(log.contains("127.0.0.1:8080") || log.contains("127.0.0.1:9090"), "{log}");
        return;
    }
    assert_eq!(listening(process.pid()), BTreeSet::from([LOOPBACK.to_owned()]));
    let redis: u32 = std::fs::read_to_string(data.join("redis/redis.pid")).unwrap().trim().parse().unwrap();
    assert_eq!(listening(redis), BTreeSet::new(), "the private redis has no port at all");
}
