//! What the API says about the agent it runs in. The agent implements this; tests implement a small one.

use futures_util::future::BoxFuture;
use serde_json::Value;

/// A server of the cluster, as `agent/members` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Address without port.
    pub address: String,
    /// RPC port.
    pub port: u16,
    /// `alive`, `left` or `failed`.
    pub status: String,
    /// The server's build, as `version()`.
    pub build: String,
}

/// Whether one role of the agent is well, and the sentence that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub ok: bool,
    pub message: String,
}

/// The agent, seen from the API. Every method answers at once from memory unless it returns a future.
pub trait AgentInfo: Send + Sync + 'static {
    /// The agent's name, `NodeName` of its client.
    fn name(&self) -> String;
    fn region(&self) -> String;
    fn datacenter(&self) -> String;
    /// `0.1.0`, without a leading `v`.
    fn version(&self) -> String;
    /// The id of this agent's node, when it has the client role.
    fn node_id(&self) -> Option<model::NodeId>;
    /// The effective configuration for `agent/self`, secrets already removed. Foreign names (`Datacenter`, `Region`,
    /// `Version`, `BindAddr`, …) are welcome; the API adds the ones clients look for when they are missing.
    fn config(&self) -> Value;
    /// Further figures for `agent/self`: a map of maps of text.
    fn stats(&self) -> Value;
    /// The servers this agent knows.
    fn members(&self) -> Vec<Member>;
    /// RPC addresses (`host:port`) of the voters, for `status/peers` and `agent/servers`.
    fn servers(&self) -> Vec<String>;
    /// The leader's RPC address; `None` while there is no leader.
    fn leader(&self) -> Option<String>;
    /// Health of the server role; `None` when the role is off.
    fn server_health(&self) -> Option<Health>;
    /// Health of the client role; `None` when the role is off.
    fn client_health(&self) -> Option<Health>;
    /// All metrics: Prometheus text when `prometheus` (empty when the operator switched that off, which the API answers
    /// with 415), else the JSON document of `/v1/metrics`.
    fn metrics(&self, prometheus: bool) -> String;
    /// Read the configuration again; the error is for the operator.
    fn reload(&self) -> BoxFuture<'_, Result<(), String>>;
}
