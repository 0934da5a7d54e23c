//! Every script and connection against a real server: what it does, what it refuses, and that the counters are exact after it.

mod append;
mod appender;
mod bury;
mod connection;
mod differential;
mod fixture;
mod full;
mod lease;
mod limits;
mod model;
mod read;
mod redrive;
mod route;
mod routes;
mod settle;
mod shown;
mod space;
mod states;
mod status;
mod trouble;
mod wake;
