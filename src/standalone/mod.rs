//! Ingest, router and worker in one process: destinations from a folder of YAML files, on a Redis that is given or on a private one.
//!
//! ```text
//! folder ─▶ control ─▶ routes in Redis, plans for the worker
//! ingest ─▶ Redis ─▶ router ─▶ Redis ─▶ worker ─▶ HTTP       (the same roles as anywhere else)
//! ```
//!
//! * [`data_dir`], [`instance`], [`identity`], [`records`]: what is kept between two runs, and what the commands are told.
//! * [`server`]: the private redis-server.
//! * [`folder`]: what the folder is taken to hold; never deletes on an error. [`control`]: makes Redis and the worker agree with it.
//! * [`roles`]: starts the roles, and ends them in order.

pub mod control;
pub mod data_dir;
pub mod folder;
pub mod identity;
pub mod instance;
pub mod kept;
pub mod records;
pub mod roles;
mod run;
pub mod server;

pub use run::{Error, Options, Started, run, settings_of};
