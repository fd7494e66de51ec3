//! The catalog's nouns: nodes, service instances and their checks, as discovery and load balancing see them.
//!
//! Instances of allocations are derived by `apply` (see [`crate::state::derive`]); others are registered through the
//! catalog API. Both live in the same tables.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    check::Verdict,
    driver_config::Value,
    id::{AllocId, CheckId, Index, InstanceId, NodeName, ServiceName},
    service::Probe,
};

/// Who registered a thing, and so who may remove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Derived from an allocation; removed with it.
    Alloc(AllocId),
    /// Through `agent/service/register` or `agent/check/register` on this node.
    Agent,
    /// Through `catalog/register`.
    Catalog,
    /// The node itself, registered by its agent.
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    pub passing: u32,
    pub warning: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// How the owner of a check runs it. Durations of zero mean unset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDefinition {
    pub probe: Probe,
    /// What the probe connects to: `host:port`, or a whole URL for http.
    pub target: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub success_before_passing: u32,
    pub failures_before_warning: u32,
    pub failures_before_critical: u32,
    pub deregister_critical_after: Option<Duration>,
    /// A redirect is an answer, not a direction (http).
    pub disable_redirects: bool,
}

/// One check of a node or of a service instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub id: CheckId,
    pub name: String,
    pub verdict: Verdict,
    pub notes: String,
    pub output: String,
    /// `http`, `tcp`, `script`, `ttl`, `grpc`, … or empty.
    pub kind: String,
    pub definition: Option<CheckDefinition>,
    /// The foreign `Definition` object of `catalog/register`, kept for round trips.
    pub foreign_definition: Value,
    pub create_index: Index,
    pub modify_index: Index,
}

/// A node of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogNode {
    pub name: NodeName,
    /// A UUID in text, or empty.
    pub id: String,
    pub address: String,
    pub datacenter: String,
    pub tagged_addresses: BTreeMap<String, String>,
    pub meta: BTreeMap<String, String>,
    /// Checks of the node as a whole; a critical one takes all its instances out.
    pub checks: BTreeMap<CheckId, Check>,
    pub source: Source,
    pub create_index: Index,
    pub modify_index: Index,
}

impl CatalogNode {
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::worst(self.checks.values().map(|c| c.verdict))
    }
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub service: ServiceName,
    pub node: NodeName,
    /// Empty: the node's address counts.
    pub address: String,
    pub port: u16,
    pub tags: Arc<[Arc<str>]>,
    pub meta: BTreeMap<String, String>,
    pub tagged_addresses: BTreeMap<String, (String, u16)>,
    pub weights: Weights,
    pub enable_tag_override: bool,
    pub kind: String,
    /// Fields of the registration that Trine stores but does not act on (`Proxy`, `Connect`, …).
    pub foreign: Value,
    pub checks: BTreeMap<CheckId, Check>,
    pub source: Source,
    pub create_index: Index,
    pub modify_index: Index,
}

impl Instance {
    /// The worst of the instance's own checks.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::worst(self.checks.values().map(|c| c.verdict))
    }
}

/// A service: its instances and the index its blocking queries watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceEntry {
    pub instances: imbl::OrdMap<(NodeName, InstanceId), Arc<Instance>>,
    pub modify_index: Index,
}
