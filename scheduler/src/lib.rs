//! Decides and replicates: job files, evaluations and plans, the Raft host, and the Nomad-compatible API.

pub mod error;
pub mod http;
pub mod jobspec;
pub mod raft;
pub mod spec;

pub use error::Error;
