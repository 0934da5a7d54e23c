//! The same roles in one process, from a folder of YAML files; the private redis-server.

pub mod control;
pub mod data_dir;
pub mod folder;
pub mod identity;
pub mod instance;
pub mod records;
pub mod server;
