//! `top`.

use super::{PATIENT, Place, UNAVAILABLE};
use crate::support::eventually;
use crate::support::eventually::holds;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_one_table_is_printed() {
    let place = Place::start(UNAVAILABLE, PATIENT).await;
    place.ok(&["send", "--type", "t", "--count", "3"]);
    place.row("a backlog", |row| row[3] == "3").await;
    let table = place.ok(&["top", "--interval", "10ms"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME              STATUS"), "{table}");
    let cells: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!((cells.len(), cells[0], cells[2], cells[7]), (8, "default/billing", "3", "0"), "{table}");
    let two = place.ok(&["top", "--count", "2", "--interval", "10ms", "-o", "json"]);
    let last: serde_json::Value = serde_json::from_str(two.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&last["destinations"][0]["backlog"], &last["destinations"][0]["outPerSecond"]), (&3.into(), &0.0.into()));
    assert_eq!(place.ok(&["top", "-n", "other", "--interval", "10ms"]), "No destinations.\n");
}

/// A command in a terminal of its own.
struct Terminal {
    child: Child,
    ours: File,
    theirs: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(args: &[&str]) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = open(ptsname(&ours, Vec::new()).unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: 10, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let stdio = || theirs.try_clone().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_posthorn")).args(args).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let (ours, shown) = (File::from(ours), Arc::new(Mutex::new(Vec::new())));
        let (mut reader, into) = (ours.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().extend(&buffer[..read]);
            }
        });
        Terminal { child, ours, theirs, shown }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    async fn shows(&self, part: &str) {
        eventually(part, async || holds(self.text().contains(part), || self.text())).await;
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    async fn ended(&mut self) -> Option<i32> {
        eventually("its end", async || self.child.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned())).await.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_given_back_as_it_was_however_it_ends() {
    let mut place = Place::start(UNAVAILABLE, PATIENT).await;
    place.ok(&["send", "--type", "t", "--count", "2"]);
    let url = place.redis.url();
    for end in ["q", "interrupt", "terminate"] {
        let mut top = Terminal::start(&["top", "--interval", "50ms", "--redis", &url]);
        top.shows("bus default: ").await;
        top.shows("default/billing").await;
        assert!(top.is_raw() && top.text().contains("\u{1b}[?1049h"));
        if end == "q" {
            place.redis.kill9();
            top.shows("trying again").await;
            place.redis.restart();
        }
        let pid = Pid::from_child(&top.child);
        match end {
            "q" => top.ours.write_all(b"xq").unwrap(),
            "interrupt" => kill_process(pid, Signal::INT).unwrap(),
            _ => kill_process(pid, Signal::TERM).unwrap(),
        }
        assert_eq!(top.ended().await, Some(0), "{end}: {}", top.text());
        top.shows("\u{1b}[?25h\u{1b}[?1049l").await;
        assert!(!top.is_raw(), "{end}");
    }
}
