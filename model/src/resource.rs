//! Units and amounts: what a task asks for, what a node has, what an allocation was given.

use std::{
    collections::BTreeMap,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};

use crate::id::TaskName;

/// CPU in MHz, memory and disk in MiB: the three amounts that are fitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub cpu_mhz: u64,
    pub memory_mb: u64,
    pub disk_mb: u64,
}

impl Add for Amount {
    type Output = Self;

    fn add(self, o: Self) -> Self {
        Self {
            cpu_mhz: self.cpu_mhz + o.cpu_mhz,
            memory_mb: self.memory_mb + o.memory_mb,
            disk_mb: self.disk_mb + o.disk_mb,
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl Amount {
    /// What is left of `self` after `used`; zero where `used` is more.
    #[must_use]
    pub const fn minus(self, used: Self) -> Self {
        Self {
            cpu_mhz: self.cpu_mhz.saturating_sub(used.cpu_mhz),
            memory_mb: self.memory_mb.saturating_sub(used.memory_mb),
            disk_mb: self.disk_mb.saturating_sub(used.disk_mb),
        }
    }
}

/// A task's `resources` block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResources {
    /// MHz; 100 when unset.
    pub cpu_mhz: u64,
    /// Whole cores; when more than 0, `cpu_mhz` is ignored.
    pub cores: u32,
    /// MiB; 300 when unset.
    pub memory_mb: u64,
    /// Upper limit in MiB when it may exceed `memory_mb`; -1 means no hard cap.
    pub memory_max_mb: Option<i64>,
    /// The legacy task-level `network` block, if any.
    pub network: Option<Network>,
    /// Devices asked for; kept so that a job which needs one is refused with its name.
    pub devices: Vec<String>,
}

impl Default for TaskResources {
    fn default() -> Self {
        Self { cpu_mhz: 100, cores: 0, memory_mb: 300, memory_max_mb: None, network: None, devices: Vec::new() }
    }
}

/// How the tasks of a group see the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    #[default]
    Host,
    Bridge,
    None,
    Cni(String),
}

/// A `network` block of a group, or the legacy one of a task's `resources`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub mode: NetworkMode,
    pub ports: Vec<PortRequest>,
    pub hostname: String,
    pub dns_servers: Vec<String>,
    pub dns_searches: Vec<String>,
    pub dns_options: Vec<String>,
    /// Accepted and ignored, as the model does.
    pub mbits: Option<u64>,
}

/// One labelled port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    pub label: String,
    /// A fixed host port; `None` asks for a dynamic one.
    pub fixed: Option<u16>,
    /// The port inside the task's network; 0 = unset, -1 = same as the host port.
    pub to: i32,
    pub host_network: String,
    pub ignore_collision: bool,
}

/// A port that was given to an allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    pub label: String,
    /// The port on the host.
    pub value: u16,
    /// The port inside the task's network; equal to `value` unless mapped.
    pub to: u16,
    pub host_ip: String,
    /// Set when the port came from a task's legacy `network` block.
    pub task: Option<TaskName>,
}

/// What one task of an allocation was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenTask {
    pub cpu_mhz: u64,
    pub cores: u32,
    pub memory_mb: u64,
    pub memory_max_mb: i64,
}

/// What an allocation was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenResources {
    pub tasks: BTreeMap<TaskName, GivenTask>,
    pub disk_mb: u64,
    pub ports: Vec<PortMapping>,
}

impl GivenResources {
    /// The sum that is fitted against a node.
    #[must_use]
    pub fn total(&self) -> Amount {
        let mut sum = Amount { disk_mb: self.disk_mb, ..Amount::default() };
        for t in self.tasks.values() {
            sum += Amount { cpu_mhz: t.cpu_mhz, memory_mb: t.memory_mb, disk_mb: 0 };
        }
        sum
    }

    /// The mapping of a port label, a task's own first.
    #[must_use]
    pub fn port(&self, label: &str, task: Option<&TaskName>) -> Option<&PortMapping> {
        self.ports
            .iter()
            .find(|p| p.label == label && p.task.is_some() && p.task.as_ref() == task)
            .or_else(|| self.ports.iter().find(|p| p.label == label))
    }
}

/// What a node has, and what it keeps for itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeResources {
    pub total: Amount,
    pub reserved: Amount,
    pub cores: u32,
    /// Dynamic ports are taken from this range, both ends included.
    pub min_dynamic_port: u16,
    pub max_dynamic_port: u16,
    /// Ports the operator keeps out of scheduling.
    pub reserved_ports: Vec<u16>,
    /// Listening ports of the host that belong to no allocation, as last seen; never handed out.
    pub ports_in_use: Vec<u16>,
}

impl Default for NodeResources {
    fn default() -> Self {
        Self {
            total: Amount::default(),
            reserved: Amount::default(),
            cores: 0,
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            reserved_ports: Vec::new(),
            ports_in_use: Vec::new(),
        }
    }
}
