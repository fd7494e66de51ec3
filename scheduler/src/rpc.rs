//! What agents and servers say to each other: proposals, and the log that other agents follow.
//!
//! ```text
//!  server:  RaftReplica ─► serve ─► Follow: snapshot, then entries, resumable by index
//!                                   Propose: a command in, what became of it out
//!  others:  RemoteReplica ─ applies the same entries to its own State ─► readers, DNS, load balancer
//! ```
//! The server holds the presence of load balancers too: one that is gone must not hold up the leaving handshake.
//! Plain TCP, so loopback only, until TLS is configured. The generated code is checked in; a test compares it.

mod balancers;
mod connection;
mod follow;
mod outcome;
mod remote;
mod server;

/// Generated from `proto/replica.proto`.
#[allow(clippy::all, clippy::pedantic)]
mod proto {
    include!("rpc/gen/trine.replica.v1.rs");
}

#[cfg(test)]
mod codegen;
#[cfg(test)]
mod tests;

pub use remote::{RemoteConfig, RemoteReplica};
pub use server::serve;

use crate::raft::MAX_COMMAND;

/// The largest message either side reads: one entry of the largest size, or one batch of small ones.
const MAX_MESSAGE: usize = MAX_COMMAND + (1 << 20);
