//! The CloudEvents HTTP protocol binding: what a request holds, and what is sent.
