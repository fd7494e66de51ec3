//! The Nomad-compatible HTTP API: every `/v1` route except `/v1/client/*`, which the agent's client role serves.
//!
//! Routing is on the raw path, because job ids contain `/` and `%2F`; so the whole API is one fallback handler. Mount
//! other routers beside it with routes of their own (`/ui/{*rest}`, `/v1/client/{*rest}`), not with a fallback.
//!
//! ```text
//!  bytes ─► request.rs (verb, raw path, query, bounded body) ─► dispatch.rs ─► one file per noun ─► reply.rs
//!                                                   error.rs ◄─ every failure ─┘
//! ```
//! Refuses: foreign names outside `wire/` and the noun files' answers, status codes outside `error.rs`, reads that are
//! not on one snapshot. Nomad's routes that Trine does not have answer 501 with a sentence.

use std::sync::Arc;

use axum::Router;
use model::Replica;

mod agent;
pub mod agent_info;
mod allocs;
mod deployments;
mod dispatch;
pub mod error;
mod evals;
mod events;
mod job;
mod job_change;
mod job_write;
mod jobs;
mod nodes;
mod operator;
mod read;
mod reply;
mod request;
mod seam;
mod search;
mod services;
#[cfg(test)]
mod tests;
pub mod wire;
mod write;

pub use agent_info::{AgentInfo, Health, Member};
pub use error::Error;

/// What the API needs: the state, and the agent it speaks for.
#[derive(Clone)]
pub struct Api {
    pub replica: Arc<dyn Replica>,
    pub agent: Arc<dyn AgentInfo>,
}

/// The router of the whole API, as a fallback.
pub fn router(api: Api) -> Router {
    Router::new().fallback(dispatch::handle).with_state(api)
}
