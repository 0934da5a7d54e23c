//! What `/readyz` says from the first moment on.

use crate::support::redis::free_port;
use crate::support::{Posthorn, eventually};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

fn readyz(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: posthorn\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

#[tokio::test]
async fn a_standalone_is_never_ready_before_everything_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let (folder, data, admin) = (folder.path().display().to_string(), data.path().display().to_string(), format!("127.0.0.1:{port}"));
    let _process = Posthorn::start(&["standalone", &folder, "--data-dir", &data, "--listen", "127.0.0.1:0", "--admin-listen", &admin]);
    let page = eventually("it is ready", async || match readyz(port) {
        Ok(page) if page.starts_with("HTTP/1.1 200") => Ok(page),
        other => Err(format!("{other:?}")),
    })
    .await;
    for gate in ["storage", "redis", "destinations"] {
        assert!(page.contains(&format!("[+]{gate} ok")), "{page}");
    }
}
