//! What a job file says about a service: the template its instances are derived from.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{check::Verdict, id::TaskName};

/// Where a service is published. Trine has one catalog; the word is kept for round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    #[default]
    Consul,
    Nomad,
}

/// Which address a service or check advertises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressMode {
    #[default]
    Auto,
    Alloc,
    Driver,
    Host,
}

/// How an update treats the checks of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUpdate {
    #[default]
    RequireHealthy,
    IgnoreWarnings,
    Ignore,
}

/// A `service` block of a group or a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// After canonicalisation never empty; may hold `${…}`.
    pub name: String,
    pub provider: Provider,
    /// A port label or a number; empty when the service has no port.
    pub port: String,
    pub tags: Vec<String>,
    /// Tags of canaries; empty means `tags`.
    pub canary_tags: Vec<String>,
    pub enable_tag_override: bool,
    pub address: String,
    pub address_mode: AddressMode,
    pub meta: BTreeMap<String, String>,
    pub canary_meta: BTreeMap<String, String>,
    pub on_update: OnUpdate,
    pub checks: Vec<CheckSpec>,
    pub weight_passing: u32,
    pub weight_warning: u32,
    /// The task a group-level service belongs to, or the task that holds the block.
    pub task: Option<TaskName>,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Probe {
    Http {
        method: String,
        scheme: String,
        path: String,
        headers: BTreeMap<String, Vec<String>>,
        body: String,
        tls_skip_verify: bool,
    },
    Tcp,
    Script {
        command: String,
        args: Vec<String>,
    },
    Grpc {
        service: String,
        tls: bool,
    },
    Ttl {
        ttl: Duration,
    },
}

/// When a failing check restarts its task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRestart {
    pub limit: u32,
    pub grace: Duration,
    pub ignore_warnings: bool,
}

/// A `check` block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Empty means `service: "<service>" check`.
    pub name: String,
    pub probe: Probe,
    /// A port label or number when it differs from the service's.
    pub port: String,
    pub address_mode: Option<AddressMode>,
    pub interval: Duration,
    pub timeout: Duration,
    pub initial: Option<Verdict>,
    pub success_before_passing: u32,
    pub failures_before_critical: u32,
    pub failures_before_warning: u32,
    /// The task a script check runs in.
    pub task: Option<TaskName>,
    pub on_update: Option<OnUpdate>,
    pub restart: Option<CheckRestart>,
}
