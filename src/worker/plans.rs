//! The plans of a worker, as a directory holds them: every file one [`Plan`] in JSON.
//!
//! The directory is a mounted Secret: kubelet writes a new hidden directory and then swings the symbolic link `..data` to it. A file that
//! cannot be read or understood keeps the plan that it held, a file that is gone takes its plan with it, a directory that cannot be
//! read changes nothing.

use crate::plan::Plan;
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

/// The plans of this moment, by the UID of their destination.
pub type Plans = watch::Receiver<Arc<BTreeMap<String, Arc<Plan>>>>;

/// How often the directory is read, whatever its link says.
const READ: Duration = Duration::from_secs(1);
/// How often it is looked where `..data` points.
const LOOK: Duration = Duration::from_millis(100);
/// Largest file that is read, bytes; a Secret holds at most 1 MiB.
const LARGEST: u64 = 4 << 20;

/// Reads the directory, and again whenever it changes, until `shutdown` or until nobody wants to know any more.
///
/// # Errors
/// If the directory cannot be read at the start.
pub fn watch(directory: PathBuf, shutdown: Shutdown) -> io::Result<Plans> {
    let mut known = Known::default();
    let contents = read(&directory).map_err(|error| io::Error::new(error.kind(), format!("plans in {}: {error}", directory.display())))?;
    log(&known.take(contents));
    let (sender, receiver) = watch::channel(Arc::new(known.plans()));
    tokio::spawn(async move {
        tokio::select! {
            () = follow(&directory, known, &sender) => {}
            () = sender.closed() => {}
            () = shutdown.begun() => {}
        }
    });
    Ok(receiver)
}

async fn follow(directory: &Path, mut known: Known, sender: &watch::Sender<Arc<BTreeMap<String, Arc<Plan>>>>) {
    let mut readable = true;
    loop {
        changed(directory).await;
        match read(directory) {
            Ok(contents) => {
                readable = true;
                log(&known.take(contents));
                let plans = known.plans();
                sender.send_if_modified(|present| {
                    let changed = **present != plans;
                    if changed {
                        *present = Arc::new(plans);
                    }
                    changed
                });
            }
            Err(error) if readable => {
                readable = false;
                warn!(directory = %directory.display(), %error, "plans cannot be read; the last ones stay");
            }
            Err(_) => {}
        }
    }
}

/// Waits until `..data` points elsewhere, at most until the next regular reading.
async fn changed(directory: &Path) {
    let link = directory.join("..data");
    let begin = Instant::now();
    let before = std::fs::read_link(&link).ok();
    while begin.elapsed() < READ {
        tokio::time::sleep(LOOK).await;
        if std::fs::read_link(&link).ok() != before {
            return;
        }
    }
}

/// What was read of each file.
type Contents = BTreeMap<String, Result<Vec<u8>, String>>;

/// Reads every visible file, through the links of a mounted Secret.
fn read(directory: &Path) -> io::Result<Contents> {
    let mut contents = Contents::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            contents.insert(name, read_file(&entry.path()));
        }
    }
    Ok(contents)
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    if metadata.len() > LARGEST {
        return Err(format!("larger than {LARGEST} bytes"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// What the files held when they were last understood.
#[derive(Default)]
struct Known {
    files: BTreeMap<String, File>,
}

#[derive(Default)]
struct File {
    content: Option<Result<Vec<u8>, String>>,
    plan: Option<Arc<Plan>>,
}

/// Something to tell about a file.
#[derive(Debug, PartialEq, Eq)]
enum Note {
    Changed { file: String, destination: String },
    Gone { file: String },
    Bad { file: String, reason: String },
}

impl Known {
    /// Takes what was read; each change of a file is noted once.
    fn take(&mut self, contents: Contents) -> Vec<Note> {
        let mut notes = Vec::new();
        self.files.retain(|name, _| {
            let stays = contents.contains_key(name);
            if !stays {
                notes.push(Note::Gone { file: name.clone() });
            }
            stays
        });
        for (name, content) in contents {
            let file = self.files.entry(name.clone()).or_default();
            if file.content.as_ref() != Some(&content) {
                notes.push(file.replace(name.clone(), content));
                notes.extend(self.repeated(name));
            }
        }
        notes
    }

    /// Another file, first in order, that holds a plan for the same destination.
    fn repeated(&self, file: String) -> Option<Note> {
        let uid = |file: &File| file.plan.as_ref().map(|plan| plan.uid.clone());
        let own = uid(self.files.get(&file)?)?;
        let (first, _) = self.files.iter().find(|(_, other)| uid(other).as_ref() == Some(&own))?;
        (*first != file).then(|| Note::Bad { reason: format!("its destination has a plan in {first} already"), file })
    }

    /// The plans in force: of two for one destination the one of the first file.
    fn plans(&self) -> BTreeMap<String, Arc<Plan>> {
        let mut plans = BTreeMap::new();
        for plan in self.files.values().filter_map(|file| file.plan.as_ref()) {
            plans.entry(plan.uid.clone()).or_insert_with(|| Arc::clone(plan));
        }
        plans
    }
}

impl File {
    fn replace(&mut self, name: String, content: Result<Vec<u8>, String>) -> Note {
        let parsed = content.as_ref().map_err(Clone::clone).and_then(|bytes| parse(bytes));
        self.content = Some(content);
        match parsed {
            Ok(plan) => {
                let destination = format!("{}/{}", plan.namespace, plan.name);
                self.plan = Some(Arc::new(plan));
                Note::Changed { file: name, destination }
            }
            Err(reason) => Note::Bad { file: name, reason },
        }
    }
}

/// The message of a JSON error may repeat a secret; its place does not.
fn parse(bytes: &[u8]) -> Result<Plan, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        format!("not a plan of this version: {:?} error at line {}, column {}", error.classify(), error.line(), error.column())
    })
}

fn log(notes: &[Note]) {
    for note in notes {
        match note {
            Note::Changed { file, destination } => info!(file, destination, "plan read"),
            Note::Gone { file } => info!(file, "plan removed"),
            Note::Bad { file, reason } => warn!(file, reason, "plan ignored; the last good one of this file, if any, stays"),
        }
    }
}

#[cfg(test)]
mod tests;
