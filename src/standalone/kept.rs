//! Plans of destinations whose file is gone and that still deliver what they have (`deletionPolicy: Drain`): the directory `draining` in the data
//! directory, so that a restart changes nothing. They hold values of Secrets, so they are for this user alone, and go with the destination.

use super::data_dir::{self, DataDir};
use crate::bus::connection::Error;
use crate::plan::Plan;
use std::path::PathBuf;

/// The plans.
#[derive(Debug)]
pub struct KeptPlans {
    directory: PathBuf,
}

impl KeptPlans {
    /// Those of a data directory.
    pub fn of(data_dir: &DataDir) -> KeptPlans {
        KeptPlans { directory: data_dir.path().join("draining") }
    }

    fn path(&self, uid: &str) -> PathBuf {
        self.directory.join(format!("{uid}.json"))
    }

    /// Keeps a plan, on the disk before it returns.
    ///
    /// # Errors
    /// If it cannot be written: nothing should be drained that a restart would forget.
    pub fn keep(&self, uid: &str, plan: &Plan) -> Result<(), Error> {
        let text = serde_json::to_string(plan).expect("a plan has only string keys");
        let wrong = |error: String| Error::Refused(format!("the plan of what is to be drained cannot be kept: {error}"));
        data_dir::make_private(&self.directory).map_err(|error| wrong(error.to_string()))?;
        data_dir::replace(&self.path(uid), &text).map_err(|error| wrong(format!("{}: {error}", self.directory.display())))
    }

    /// A plan that was kept, if it can be read.
    pub fn plan(&self, uid: &str) -> Option<Plan> {
        serde_json::from_slice(&std::fs::read(self.path(uid)).ok()?).ok()
    }

    /// Forgets a plan, if there is one.
    pub fn forget(&self, uid: &str) {
        // what stays is overwritten or read by nobody: a UID is never given twice
        let _ = std::fs::remove_file(self.path(uid));
    }
}
