//! The Consul-compatible HTTP API.
//!
//! Routing is on the raw path, because keys and ids contain `/`, `//` and `%2F`; so the whole API is one fallback
//! handler on a listener of its own. Refuses: foreign names outside `wire/`, status codes outside `error.rs`, reads
//! that are not on one snapshot.
//!
//! ```text
//!  bytes ─► request.rs (method, path, query, bounded body) ─► route.rs ─► one file per noun ─► reply.rs
//!                                                  error.rs ◄─ every failure ─┘
//! ```

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use model::Replica;

use crate::local::Local;

mod agent;
mod agent_checks;
mod agent_services;
mod catalog;
mod duration;
mod error;
mod health;
mod kv;
mod maintenance;
mod options;
mod reply;
mod request;
mod route;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod txn;
mod wire;

pub use error::Error;

/// What the API needs: the state, and the agent it speaks for.
#[derive(Clone)]
pub struct Api {
    pub replica: Arc<dyn Replica>,
    /// The agent's node in the catalog; services registered through `agent/…` belong to it.
    pub node_name: String,
    pub datacenter: String,
    pub agent: Arc<dyn AgentInfo>,
    /// Shared with [`crate::local::run`].
    pub local: Local,
}

/// The agent, seen from the API. Every method answers at once from memory.
pub trait AgentInfo: Send + Sync + 'static {
    /// `0.1.0`, without a leading `v`.
    fn version(&self) -> String;
    /// The address of the agent's node, for an agent that has no client role and so no node of its own.
    fn address(&self) -> String;
    /// Whether the agent has the server role.
    fn is_server(&self) -> bool;
    /// RPC addresses (`host:port`) of the voters, for `status/peers`.
    fn peers(&self) -> Vec<String>;
    /// Further figures for `agent/self`, by section.
    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::new()
    }
    /// Read the configuration again; the error is for the operator.
    fn reload(&self) -> Result<(), String> {
        Err("this agent cannot reload its configuration".into())
    }
}

/// The router of the whole API. Serve it on a listener of its own.
pub fn router(api: Api) -> Router {
    Router::new().fallback(serve).with_state(Arc::new(api))
}

async fn serve(State(api): State<Arc<Api>>, request: Request) -> Response {
    match route::dispatch(api, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}
