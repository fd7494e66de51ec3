//! The vocabulary of Trine and its replicated state.
//!
//! Owns: ids and units, the nouns (job, node, allocation, evaluation, deployment, service, key), the commands that
//! change them, [`State`] with its deterministic `apply`, the [`plan`] types the planner and the applier share, and
//! the [`Replica`] seam behind which Raft lives.
//!
//! Refuses: I/O, clocks, random numbers, hash-map iteration. Whatever is not a function of the log travels inside a
//! [`Command`]; `clippy.toml` in this crate bans the rest.
//!
//! ```text
//!  Command ─► State::apply ─► State' + Applied (reply) + Touched (topics whose readers must look again)
//! ```

pub mod alloc;
pub mod catalog;
pub mod check;
pub mod command;
pub mod deployment;
pub mod driver_config;
pub mod eval;
pub mod filter;
pub mod id;
pub mod interpolate;
pub mod job;
pub mod kv;
pub mod metric;
pub mod node;
pub mod plan;
pub mod replica;
pub mod resource;
pub mod service;
pub mod state;
pub mod time;
pub mod topic;

pub use alloc::{Alloc, ClientStatus, Desired};
pub use command::{Applied, Command, Rejected};
pub use deployment::{Deployment, DeploymentStatus};
pub use eval::{Eval, EvalStatus, Trigger};
pub use id::*;
pub use job::{Group, Job, JobKey, JobKind, JobStatus, Task};
pub use node::{Eligibility, Node, NodeStatus};
pub use plan::Plan;
pub use replica::{ProposeError, Replica};
pub use state::State;
pub use time::Timestamp;
pub use topic::Topic;
