//! The Nomad-compatible HTTP API: every `/v1` route except `/v1/client/*`, which the agent's client role serves.
//!
//! Routing is on the raw path, because job ids contain `/` and `%2F`; so the whole API is one fallback handler. Mount
//! other routers beside it with routes of their own (`/ui/{*rest}`, `/v1/client/{*rest}`), not with a fallback.
//!
//! ```text
//!  bytes ─► request.rs (method, segments, query, bounded body) ─► route.rs ─► one file per noun ─► reply.rs
//!                                                   error.rs ◄─ every failure ─┘
//! ```
//! Refuses: foreign names outside `wire/`, status codes outside `error.rs`, reads that are not on one snapshot.

use std::sync::Arc;

use axum::Router;
use model::Replica;

pub mod agent_info;
pub mod error;
pub mod wire;

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
    Router::new().fallback(|| async { Error::NoRoute }).with_state(api)
}
