//! Posthorn delivers events to the places that `EventDestination` resources name: durable, in order, at least once.
//!
//! Two flows meet in exactly one type, [`plan::Plan`]:
//!
//! ```text
//! data     client ─▶ ingest ─▶ `in` stream ─▶ router ─▶ one queue per destination ─▶ worker ─▶ HTTP
//! failure  worker ─▶ back off on the head of the lane ─▶ … ─▶ bury (dead letters)
//! control  EventDestination (YAML folder or custom resource) ─▶ route + queue in Redis, plan for a worker ─▶ status
//! ```
//!
//! Start reading here:
//!
//! * [`event`], [`filter`], [`api`], [`plan`]: pure. What an event is, which destination wants it, what a destination is.
//! * [`bus`]: all of Redis. Keys, scripts, connections; nothing else imports `redis`.
//! * [`ingest`], [`router`], [`worker`]: the three roles of the data plane.
//! * [`standalone`]: the same roles in one process, from a folder of YAML files.
//! * [`cli`]: the commands a person uses.

pub mod admin;
pub mod api;
pub mod authorities;
pub mod bus;
pub mod cli;
pub mod event;
pub mod failpoint;
pub mod filter;
pub mod generate;
pub mod ingest;
pub mod operator;
pub mod plan;
pub mod random;
pub mod receiver;
pub mod router;
pub mod settings;
pub mod shutdown;
pub mod standalone;
pub mod status;
pub mod telemetry;
pub mod traces;
pub mod worker;
