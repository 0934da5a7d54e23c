//! The folder of a standalone: looked at each second, whatever the file system, and what it is taken to hold.

pub mod objects;
pub mod read;
pub mod step;

use crate::settings::Settings;
use crate::shutdown::Shutdown;
pub use objects::Object;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use step::{File, Note, Observation, Problem, State};
pub use step::{Key, Kind};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What the folder is taken to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Every object in force.
    pub objects: BTreeMap<Key, Object>,
    /// Whether what is not among them may be deleted elsewhere.
    pub complete: bool,
}

/// Looks at the folder now, and again each second until `shutdown`.
///
/// # Errors
/// If the folder cannot be read.
pub fn watch(folder: PathBuf, settings: Arc<Settings>, shutdown: Shutdown) -> io::Result<watch::Receiver<Arc<Contents>>> {
    let mut watcher =
        Watcher { folder, settings, begin: Instant::now(), state: State::default(), seen: BTreeMap::new(), settings_text: None };
    let texts = read::read(&watcher.folder)?;
    watcher.settings_text = texts.get(read::SETTINGS_FILE).and_then(|text| text.clone().ok());
    let first = watcher.take(Ok(texts));
    let (sender, receiver) = watch::channel(Arc::new(first));
    tokio::spawn(async move {
        tokio::select! {
            () = watcher.follow(&sender) => {}
            () = shutdown.begun() => {}
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

struct Watcher {
    folder: PathBuf,
    settings: Arc<Settings>,
    begin: Instant,
    state: State<Object>,
    /// Each file as it was last read, and what came of it: only a changed one is parsed again.
    seen: BTreeMap<String, (Result<String, String>, File<Object>)>,
    /// The settings that this process runs with, or that were told to need a restart.
    settings_text: Option<String>,
}

impl Watcher {
    async fn follow(&mut self, sender: &watch::Sender<Arc<Contents>>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let folder = self.folder.clone();
            // A network file system may hang.
            let texts = tokio::task::spawn_blocking(move || read::read(&folder)).await;
            let contents = self.take(texts.unwrap_or_else(|error| Err(io::Error::other(error))));
            sender.send_if_modified(|present| {
                let changed = **present != contents;
                if changed {
                    *present = Arc::new(contents);
                }
                changed
            });
        }
    }

    /// Takes what was read, and tells what is new about it.
    fn take(&mut self, texts: io::Result<read::Texts>) -> Contents {
        let files = texts.map(|texts| self.parse(texts)).map_err(|error| error.to_string());
        let (state, notes) = std::mem::take(&mut self.state).step(Observation { at: self.begin.elapsed(), files });
        self.state = state;
        notes.iter().for_each(|note| self.tell(note));
        Contents { objects: self.state.objects().clone(), complete: self.state.is_complete() }
    }

    fn parse(&mut self, texts: read::Texts) -> BTreeMap<String, File<Object>> {
        let mut before = std::mem::take(&mut self.seen);
        for (name, text) in texts {
            let entry = match before.remove(&name) {
                Some((old, file)) if old == text => (old, file),
                _ => {
                    let file = self.parse_file(&name, &text);
                    (text, file)
                }
            };
            self.seen.insert(name, entry);
        }
        self.seen.iter().map(|(name, (_, file))| (name.clone(), file.clone())).collect()
    }

    fn parse_file(&mut self, name: &str, text: &Result<String, String>) -> File<Object> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let version = hasher.finish();
        match text {
            Err(reason) => {
                File { version, objects: Vec::new(), problems: vec![Problem { line: None, field: None, message: reason.clone() }] }
            }
            Ok(text) if name == read::SETTINGS_FILE => File { version, objects: Vec::new(), problems: self.settings_changed(text) },
            Ok(text) => objects::parse(name, text, version, &self.settings),
        }
    }

    /// Settings are read at the start only: a change is told, an error in it too.
    fn settings_changed(&mut self, text: &str) -> Vec<Problem> {
        if self.settings_text.as_deref() != Some(text) {
            self.settings_text = Some(text.to_owned());
            match Settings::parse(text, &self.folder) {
                Ok(settings) if settings == *self.settings => {}
                Ok(_) => warn!(file = read::SETTINGS_FILE, "settings have changed; restart to apply them"),
                Err(error) => return vec![Problem { line: None, field: None, message: error.to_string() }],
            }
        }
        Vec::new()
    }

    fn tell(&self, note: &Note) {
        let folder = self.folder.display();
        match note {
            Note::Bad { file, problem } => {
                error!(%folder, file, line = problem.line, field = problem.field, problem = problem.message, "bad file; what was good of it stays");
            }
            Note::Mended { file } => info!(%folder, file, "file is good again"),
            Note::Unreadable(reason) => error!(%folder, reason, "folder cannot be read; everything stays as it is"),
            Note::Kept(keys) => {
                let objects = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                warn!(%folder, objects, "missing, but nothing is deleted while the folder is empty or a file in it is bad");
            }
            Note::Removed(key) => info!(%folder, object = %key, "removed from the folder"),
        }
    }
}
