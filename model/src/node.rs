//! A machine that runs allocations: what it is, what it has, whether it may be used.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Index, NodeId},
    resource::NodeResources,
    time::Timestamp,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeStatus {
    #[default]
    Initializing,
    Ready,
    Down,
    Disconnected,
}

impl NodeStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Ready => "ready",
            Self::Down => "down",
            Self::Disconnected => "disconnected",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Eligibility {
    #[default]
    Eligible,
    Ineligible,
}

impl Eligibility {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::Ineligible => "ineligible",
        }
    }
}

/// How a node is being emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// `None`: no deadline. Zero: everything leaves at once.
    pub deadline: Option<Duration>,
    pub ignore_system_jobs: bool,
    pub started_at: Timestamp,
    /// `started_at` + `deadline`; what remains then is stopped.
    pub force_at: Option<Timestamp>,
}

/// A task driver as the node reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverInfo {
    pub detected: bool,
    pub healthy: bool,
    pub description: String,
    pub attributes: BTreeMap<String, String>,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    pub at: Timestamp,
    pub subsystem: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub name: String,
    pub datacenter: String,
    pub pool: String,
    pub class: String,
    /// The address tasks advertise: dynamic and static ports are reachable here.
    pub address: String,
    /// `host:port` of the node's own HTTP API (logs, files, exec).
    pub http_address: String,
    pub attributes: BTreeMap<String, String>,
    pub meta: BTreeMap<String, String>,
    pub resources: NodeResources,
    pub drivers: BTreeMap<String, DriverInfo>,
    /// Host volumes by name: path and whether it is read-only.
    pub host_volumes: BTreeMap<String, (String, bool)>,
    pub status: NodeStatus,
    pub status_description: String,
    pub eligibility: Eligibility,
    pub drain: Option<Drain>,
    /// The last ten.
    pub events: Vec<NodeEvent>,
    pub status_updated_at: Timestamp,
    pub create_index: Index,
    pub modify_index: Index,
}

impl Node {
    /// New work may be placed here.
    #[must_use]
    pub fn schedulable(&self) -> bool {
        self.status == NodeStatus::Ready && self.eligibility == Eligibility::Eligible && self.drain.is_none()
    }

    /// What the node runs is gone for the cluster.
    #[must_use]
    pub const fn lost(&self) -> bool {
        matches!(self.status, NodeStatus::Down)
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            id: NodeId(uuid::Uuid::nil()),
            name: String::new(),
            datacenter: "dc1".into(),
            pool: "default".into(),
            class: String::new(),
            address: "127.0.0.1".into(),
            http_address: String::new(),
            attributes: BTreeMap::new(),
            meta: BTreeMap::new(),
            resources: NodeResources::default(),
            drivers: BTreeMap::new(),
            host_volumes: BTreeMap::new(),
            status: NodeStatus::Initializing,
            status_description: String::new(),
            eligibility: Eligibility::Eligible,
            drain: None,
            events: Vec::new(),
            status_updated_at: Timestamp::ZERO,
            create_index: Index(0),
            modify_index: Index(0),
        }
    }
}
