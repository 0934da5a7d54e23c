//! Delivery, whatever breaks: the real binary against a real redis-server, judged by the one checker.
//!
//! * [`world`]: a bus, its destinations, and the process that delivers. [`scene`]: destinations, what receivers do.
//! * `killed`: the worker or Redis dies at each step of an event's life. `owning`: two workers, frozen ones, broken connections.
//! * `failing`: retries and what follows them. `halting`, `blocking`: rests, and heads that stay. `lanes`: order by key, and none. `limits`: rates, batches.
//! * `changing`: plans and Secrets. `poison`: events that kill. `tampering`: Redis changed by others, full, or emptied. `replicas`: a bus with replicas. `restoring`: a backup, another Redis. `guide`: the receivers of the documentation.

mod blocking;
mod changing;
mod failing;
mod guide;
mod halting;
mod killed;
mod lanes;
mod limits;
mod owning;
mod poison;
mod replicas;
mod restoring;
pub mod scene;
mod tampering;
mod world;
