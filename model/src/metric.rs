//! Why an allocation went where it went, or why it went nowhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// The score of one node, by scorer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeScore {
    pub node: Option<NodeId>,
    pub scores: BTreeMap<String, f64>,
    pub norm: f64,
}

/// Why one node was refused: the words an operator reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub node: NodeId,
    pub node_name: String,
    pub reason: String,
}

/// The record of one placement attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AllocMetric {
    pub nodes_evaluated: u32,
    pub nodes_filtered: u32,
    pub nodes_in_pool: u32,
    pub nodes_exhausted: u32,
    /// Ready nodes per datacenter.
    pub nodes_available: BTreeMap<String, u32>,
    pub class_filtered: BTreeMap<String, u32>,
    /// Constraint text → nodes it excluded.
    pub constraint_filtered: BTreeMap<String, u32>,
    pub class_exhausted: BTreeMap<String, u32>,
    /// `cpu`, `memory`, `disk`, `network: reserved port collision http=8080` → nodes.
    pub dimension_exhausted: BTreeMap<String, u32>,
    /// The five best.
    pub scores: Vec<NodeScore>,
    /// Up to twenty nodes with the reason each was refused.
    pub refusals: Vec<Refusal>,
    /// Further failures of the same group folded into this record.
    pub coalesced_failures: u32,
}
