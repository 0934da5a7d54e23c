//! What the folder is taken to hold, from what was seen of it. Pure.
//!
//! A typing error, an emptied folder or a half-saved file must never delete a backlog. So the last good version of everything stays until
//! it was missing twice, [`APART`] apart, from a folder that could be read, held something and had no error in any file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// How far apart two sightings without an object must be before it counts as deleted.
pub const APART: Duration = Duration::from_secs(2);

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// The kinds of objects that a folder may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `posthorn.dev/v1alpha1`.
    EventDestination,
    /// `v1`.
    Secret,
    /// `v1`.
    ConfigMap,
}

/// What was seen of the folder at one moment.
#[derive(Clone, Debug)]
pub struct Observation<T> {
    /// When, by a clock that never goes back.
    pub at: Duration,
    /// The files by name, or why the folder could not be read.
    pub files: Result<BTreeMap<String, File<T>>, String>,
}

/// What was seen of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct File<T> {
    /// Changes with the content: an error is told again after each change.
    pub version: u64,
    /// The objects that were understood.
    pub objects: Vec<Found<T>>,
    /// What was not.
    pub problems: Vec<Problem>,
}

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// Its name.
    pub key: Key,
    /// Where it begins.
    pub line: usize,
    /// The object.
    pub object: T,
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where, counted from 1.
    pub line: Option<usize>,
    /// The field, `spec.sink.http.uri`.
    pub field: Option<String>,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A file has an error.
    Bad {
        /// The file.
        file: String,
        /// The error.
        problem: Problem,
    },
    /// A file with errors has none any more.
    Mended {
        /// The file.
        file: String,
    },
    /// The folder could not be read; nothing changes.
    Unreadable(String),
    /// Objects that the folder does not hold any more stay, because it is not in a state to be believed.
    Kept(Vec<Key>),
    /// An object left the folder.
    Removed(Key),
}

/// What is wrong with each file, and in which version of it.
type Problems = BTreeMap<String, BTreeSet<(u64, Problem)>>;

/// What the folder is taken to hold.
#[derive(Clone, Debug)]
pub struct State<T> {
    objects: BTreeMap<Key, T>,
    /// What each file held when it was last understood.
    files: BTreeMap<String, BTreeMap<Key, T>>,
    /// Since when an object is missing from a folder that can be believed.
    missing: BTreeMap<Key, Duration>,
    /// Since when the folder can be believed.
    good_since: Option<Duration>,
    last_seen: Duration,
    told: Problems,
    told_unreadable: bool,
    told_kept: Vec<Key>,
}

impl<T> Default for State<T> {
    fn default() -> State<T> {
        State {
            objects: BTreeMap::new(),
            files: BTreeMap::new(),
            missing: BTreeMap::new(),
            good_since: None,
            last_seen: Duration::ZERO,
            told: BTreeMap::new(),
            told_unreadable: false,
            told_kept: Vec::new(),
        }
    }
}

impl<T: Clone> State<T> {
    /// The objects in force.
    pub fn objects(&self) -> &BTreeMap<Key, T> {
        &self.objects
    }

    /// Whether what is not among the objects may be deleted elsewhere: the folder was good twice, [`APART`] apart.
    pub fn is_complete(&self) -> bool {
        self.good_since.is_some_and(|since| self.last_seen >= since + APART)
    }

    /// Takes an observation; returns what is to be told.
    pub fn step(mut self, seen: Observation<T>) -> (State<T>, Vec<Note>) {
        self.last_seen = seen.at;
        let files = match seen.files {
            Ok(files) => files,
            Err(reason) => {
                let note = (!self.told_unreadable).then_some(Note::Unreadable(reason));
                self.told_unreadable = true;
                self.distrust();
                return (self, note.into_iter().collect());
            }
        };
        self.told_unreadable = false;
        let (fresh, problems) = take_fresh(&files);
        let good = !fresh.is_empty() && problems.values().all(BTreeSet::is_empty);
        let held = self.take_files(files, &fresh);
        let mut notes = self.tell(problems);
        notes.extend(self.replace(fresh.into_iter().chain(held).collect(), good, seen.at));
        (self, notes)
    }

    /// Remembers what each file holds; returns what stays because its file has errors. A fresh object goes before one that stays.
    fn take_files(&mut self, files: BTreeMap<String, File<T>>, fresh: &BTreeMap<Key, T>) -> BTreeMap<Key, T> {
        let mut stays = BTreeMap::new();
        let mut next = BTreeMap::new();
        for (name, file) in files {
            let flawed = !file.problems.is_empty();
            let mut objects: BTreeMap<Key, T> = file.objects.into_iter().map(|found| (found.key, found.object)).collect();
            for (key, object) in self.files.remove(&name).filter(|_| flawed).into_iter().flatten() {
                if !fresh.contains_key(&key) {
                    stays.entry(key.clone()).or_insert_with(|| object.clone());
                    objects.entry(key).or_insert(object);
                }
            }
            next.insert(name, objects);
        }
        self.files = next;
        stays
    }

    /// Puts the present objects in force; deletes those that were missing long enough.
    fn replace(&mut self, present: BTreeMap<Key, T>, good: bool, at: Duration) -> Vec<Note> {
        let mut notes = Vec::new();
        let gone: Vec<Key> = self.objects.keys().filter(|key| !present.contains_key(*key)).cloned().collect();
        self.objects.extend(present);
        if good {
            self.good_since.get_or_insert(at);
            self.missing.retain(|key, _| gone.contains(key));
            self.told_kept.clear();
        } else {
            self.distrust();
            if gone != self.told_kept && !gone.is_empty() {
                notes.push(Note::Kept(gone.clone()));
            }
            self.told_kept.clone_from(&gone);
        }
        for key in gone.into_iter().filter(|_| good) {
            let since = *self.missing.entry(key.clone()).or_insert(at);
            if at >= since + APART {
                self.missing.remove(&key);
                self.objects.remove(&key);
                notes.push(Note::Removed(key));
            }
        }
        notes
    }

    fn distrust(&mut self) {
        self.good_since = None;
        self.missing.clear();
    }

    /// What is new among the problems, and which files have none any more.
    fn tell(&mut self, problems: Problems) -> Vec<Note> {
        let mut notes = Vec::new();
        for (file, now) in &problems {
            let before = self.told.get(file);
            let new = now.iter().filter(|problem| before.is_none_or(|before| !before.contains(problem)));
            notes.extend(new.map(|(_, problem)| Note::Bad { file: file.clone(), problem: problem.clone() }));
            if now.is_empty() && before.is_some_and(|before| !before.is_empty()) {
                notes.push(Note::Mended { file: file.clone() });
            }
        }
        self.told = problems;
        notes
    }
}

/// The objects that this observation holds, and every problem of each file. The first of two with one name counts.
fn take_fresh<T: Clone>(files: &BTreeMap<String, File<T>>) -> (BTreeMap<Key, T>, Problems) {
    let mut fresh = BTreeMap::new();
    let mut places: BTreeMap<&Key, (&str, usize)> = BTreeMap::new();
    let mut problems = BTreeMap::new();
    for (name, file) in files {
        let mut own: BTreeSet<(u64, Problem)> = file.problems.iter().map(|problem| (file.version, problem.clone())).collect();
        for found in &file.objects {
            if let Some((file_before, line_before)) = places.get(&found.key) {
                own.insert((file.version, repeated(found, file_before, *line_before)));
            } else {
                places.insert(&found.key, (name, found.line));
                fresh.insert(found.key.clone(), found.object.clone());
            }
        }
        problems.insert(name.clone(), own);
    }
    (fresh, problems)
}

fn repeated<T>(found: &Found<T>, file: &str, line: usize) -> Problem {
    let message = format!("{} is defined at {file}:{line} already; the first one counts", found.key);
    Problem { line: Some(found.line), field: Some("metadata.name".to_owned()), message }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
