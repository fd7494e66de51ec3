//! Decides and replicates: job files, evaluations and plans, the Raft host, and the Nomad-compatible API.

pub mod admission;
pub mod diff;
pub mod dry_run;
pub mod error;
pub mod evaluate;
pub mod http;
pub mod jobspec;
pub mod leader;
pub mod place;
pub mod queue;
pub mod raft;
pub mod reconcile;
pub mod rpc;
pub mod spec;
pub mod validate;
#[cfg(test)]
mod world;

pub use error::Error;
