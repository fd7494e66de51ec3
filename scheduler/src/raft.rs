//! The replicated log: one Raft voter that keeps `model::State` and survives `kill -9` at any moment.
//!
//! Owns the data directory, the log's writer thread, and a runtime of its own, so that a busy proxy in the same
//! process never costs an election. No openraft type leaves this directory; everybody else sees `model::Replica`.
//!
//! ```text
//!  propose ─► raft (own runtime) ─► log.rs ─► writer.rs (own thread) ─► file.rs (redb)
//!                 └─► machine.rs ─► State in an ArcSwap ─► readers, followers (feed.rs)
//!                          └─► snapshot.rs
//! ```

mod directory;
mod feed;
mod file;
mod host;
mod log;
mod machine;
mod network;
mod snapshot;
mod types;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
pub(crate) mod tests;

pub use directory::Identity;
pub use feed::Fed;
pub use host::{Config, MAX_COMMAND, Metrics, RaftReplica};
pub use machine::apply_bytes;
