//! What the agent tells its client role.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::driver::raw_exec::ShimCommand;

/// Settings of the client role; [`Default`] is a client that may run nothing but docker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Unique in the cluster; the host's name when empty.
    pub node_name: String,
    pub datacenter: String,
    pub pool: String,
    pub class: String,
    pub meta: BTreeMap<String, String>,
    /// Where tasks are reached; empty: 127.0.0.1 in dev mode, else the first address that is not loopback.
    pub address: String,
    /// `host:port` of this agent's own HTTP API, for logs and files.
    pub http_address: String,
    /// The agent's data directory: allocations go to `alloc/`, the client's own files to `client/`.
    pub data_dir: PathBuf,
    pub dev: bool,
    pub raw_exec_enabled: bool,
    pub mock_enabled: bool,
    pub docker: DockerConfig,
    /// Host volumes by name: path and whether it is read-only.
    pub host_volumes: BTreeMap<String, (PathBuf, bool)>,
    /// Ports this agent itself listens on, with what for (`lb`, `dns`, …): never handed out.
    pub own_ports: Vec<(u16, String)>,
    /// Kept from scheduling.
    pub reserved: Reserved,
    /// Overrides what was measured, when set: MHz and MiB.
    pub cpu_total_mhz: Option<u64>,
    pub memory_total_mb: Option<u64>,
    pub min_dynamic_port: u16,
    pub max_dynamic_port: u16,
    pub gc: GcConfig,
    /// The longest `kill_timeout` a job gets.
    pub max_kill_timeout: Duration,
    /// How the task shim is started; the default is this binary.
    pub shim: ShimCommand,
}

/// `client { reserved { … } }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    pub cpu_mhz: u64,
    pub memory_mb: u64,
    pub disk_mb: u64,
    pub ports: Vec<u16>,
}

/// `plugin "docker" { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerConfig {
    pub enabled: bool,
    /// `unix:///var/run/docker.sock` when empty.
    pub endpoint: String,
    /// Host paths may be mounted.
    pub volumes_enabled: bool,
    pub allow_privileged: bool,
    /// Remove images nobody uses: not done; kept containers are removed always.
    pub pull_timeout: Duration,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: String::new(),
            volumes_enabled: false,
            allow_privileged: false,
            pull_timeout: Duration::from_secs(300),
        }
    }
}

/// When the directories of ended allocations go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcConfig {
    pub interval: Duration,
    /// Ended allocations whose directories are kept.
    pub max_allocs: usize,
    /// Percent of the disk; above it the oldest go first.
    pub disk_usage_threshold: u8,
}

impl Default for GcConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), max_allocs: 50, disk_usage_threshold: 80 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            datacenter: "dc1".into(),
            pool: "default".into(),
            class: String::new(),
            meta: BTreeMap::new(),
            address: String::new(),
            http_address: String::new(),
            data_dir: PathBuf::from("data"),
            dev: false,
            raw_exec_enabled: false,
            mock_enabled: false,
            docker: DockerConfig::default(),
            host_volumes: BTreeMap::new(),
            own_ports: Vec::new(),
            reserved: Reserved::default(),
            cpu_total_mhz: None,
            memory_total_mb: None,
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            gc: GcConfig::default(),
            max_kill_timeout: Duration::from_secs(30),
            shim: ShimCommand::default(),
        }
    }
}
