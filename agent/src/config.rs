//! The agent's configuration: defaults, then files and directories in order, then the environment, then flags.
//!
//! Owns: every knob and its default, merging, validation. Refuses: starting anything. Unknown keys are errors with
//! file and line; a value out of range is an error, never a silent default.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

pub mod duration;
pub mod env;
mod keys;
mod section;
mod sources;
mod tree;
mod validate;

pub use sources::{Flags, load};

use tree::Position;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration {}: {cause}. Check the path given with -config", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
    #[error("{}", list(.0))]
    Invalid(Vec<String>),
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let mut out = String::from("the configuration cannot be used:");
    for item in items {
        out.push_str(&format!("\n  {item}"));
    }
    out
}

/// Something wrong at one place of a file.
#[derive(Debug)]
pub struct Problem {
    at: Position,
    message: String,
}

impl Problem {
    fn new(at: Position, message: String) -> Self {
        Self { at, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// Everything an agent can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Started with `-dev`: nothing is kept, tasks end with the agent.
    pub dev: bool,
    pub region: String,
    pub datacenter: String,
    /// The node's name; the host name unless given.
    pub name: String,
    /// Where the log, the journal and allocations live. Absent only in `-dev` and for agents that keep nothing.
    pub data_dir: Option<PathBuf>,
    pub bind_addr: IpAddr,
    /// Accept a `bind_addr` that others can reach although nothing is encrypted.
    pub insecure: bool,
    pub advertise: Advertise,
    pub ports: Ports,
    pub server: Server,
    pub client: Client,
    pub discovery: Discovery,
    pub lb: Lb,
    pub drivers: Drivers,
    pub telemetry: Telemetry,
    pub log_level: String,
    pub log_json: bool,
}

/// Addresses others are told, where they differ from those bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertise {
    /// `host` or `host:port` of the HTTP API.
    pub http: Option<String>,
    /// `host` or `host:port` of the RPC.
    pub rpc: Option<String>,
    /// The address at which tasks and services of this node are reached.
    pub address: Option<IpAddr>,
}

/// Ports; zero takes any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    pub http: u16,
    pub rpc: u16,
    pub catalog: u16,
    pub dns: u16,
    pub lb: u16,
    pub lb_admin: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { http: 4646, rpc: 4647, catalog: 8500, dns: 8600, lb: 9999, lb_admin: 9998 }
    }
}

impl Ports {
    /// Any free port for everything.
    #[must_use]
    pub const fn free() -> Self {
        Self { http: 0, rpc: 0, catalog: 0, dns: 0, lb: 0, lb_admin: 0 }
    }
}

/// The role that keeps the state and schedules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    pub enabled: bool,
    /// How many servers form the cluster. Only 1 is built.
    pub bootstrap_expect: u32,
}

/// The role that runs allocations.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    pub enabled: bool,
    /// RPC addresses of servers, for agents without the server role.
    pub servers: Vec<String>,
    pub node_class: String,
    pub node_pool: String,
    pub meta: BTreeMap<String, String>,
    /// `fingerprint.…` and `driver.…` options by name.
    pub options: BTreeMap<String, String>,
    pub reserved: Reserved,
    /// Replace what the fingerprint found, in MHz and MiB.
    pub cpu_total_mhz: Option<u32>,
    pub memory_total_mb: Option<u64>,
    pub min_dynamic_port: u16,
    pub max_dynamic_port: u16,
    pub max_kill_timeout: Duration,
    /// Host volumes by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// Tasks outlive the agent. Off in `-dev`.
    pub leave_tasks_running: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            enabled: false,
            servers: Vec::new(),
            node_class: String::new(),
            node_pool: "default".into(),
            meta: BTreeMap::new(),
            options: BTreeMap::new(),
            reserved: Reserved::default(),
            cpu_total_mhz: None,
            memory_total_mb: None,
            min_dynamic_port: 20_000,
            max_dynamic_port: 32_000,
            max_kill_timeout: Duration::from_secs(30),
            host_volumes: BTreeMap::new(),
            leave_tasks_running: true,
        }
    }
}

/// Kept from the scheduler for the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    pub cpu_mhz: u32,
    pub memory_mb: u64,
    pub disk_mb: u64,
    /// Ports no allocation gets.
    pub ports: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVolume {
    pub path: PathBuf,
    pub read_only: bool,
}

/// The catalog's HTTP API and DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    pub enabled: bool,
    /// The domain DNS answers for.
    pub domain: String,
    /// Time to live of DNS answers about services.
    pub service_ttl: Duration,
    pub node_ttl: Duration,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { enabled: false, domain: "consul".into(), service_ttl: Duration::ZERO, node_ttl: Duration::ZERO }
    }
}

/// How the next instance is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    #[default]
    RoundRobin,
    Random,
}

/// The load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lb {
    /// On wherever the client role is on, unless said otherwise: whoever runs tasks balances them.
    pub enabled: Option<bool>,
    /// Where traffic is accepted, when not on `bind_addr`.
    pub bind_addr: Option<IpAddr>,
    /// Where the routes page is served, when not on `bind_addr`.
    pub admin_bind_addr: Option<IpAddr>,
    /// Threads of the data plane; `None` is one per core.
    pub cores: Option<usize>,
    /// RPC addresses of servers, for an agent that is only a load balancer.
    pub servers: Vec<String>,
    pub strategy: Strategy,
}

impl Default for Lb {
    fn default() -> Self {
        Self {
            enabled: None,
            bind_addr: None,
            admin_bind_addr: None,
            cores: None,
            servers: Vec::new(),
            strategy: Strategy::RoundRobin,
        }
    }
}

/// Task drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drivers {
    /// Runs commands as the agent's user, unconfined: off unless asked for.
    pub raw_exec: bool,
    pub mock: bool,
    pub docker: Docker,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    pub enabled: bool,
    /// `unix:///var/run/docker.sock`; empty follows `DOCKER_HOST`.
    pub endpoint: String,
    /// Bind mounts of host paths.
    pub volumes: bool,
    pub allow_privileged: bool,
    pub pull_timeout: Duration,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: String::new(),
            volumes: false,
            allow_privileged: false,
            pull_timeout: Duration::from_secs(300),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// `/v1/metrics?format=prometheus` answers.
    pub prometheus_metrics: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { prometheus_metrics: true }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dev: false,
            region: "global".into(),
            datacenter: "dc1".into(),
            name: host_name(),
            data_dir: None,
            bind_addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
            insecure: false,
            advertise: Advertise::default(),
            ports: Ports::default(),
            server: Server { enabled: false, bootstrap_expect: 1 },
            client: Client::default(),
            discovery: Discovery::default(),
            lb: Lb::default(),
            drivers: Drivers::default(),
            telemetry: Telemetry::default(),
            log_level: "info".into(),
            log_json: false,
        }
    }
}

impl Config {
    /// Every role, on loopback, keeping nothing: what `-dev` starts from.
    #[must_use]
    pub fn dev() -> Self {
        let mut config = Self { dev: true, ..Self::default() };
        config.server.enabled = true;
        config.client.enabled = true;
        config.client.leave_tasks_running = false;
        config.discovery.enabled = true;
        config.lb.enabled = Some(true);
        config.drivers.raw_exec = true;
        config.drivers.docker.volumes = true;
        config
    }

    /// Whether the load balancer runs here.
    #[must_use]
    pub fn lb_enabled(&self) -> bool {
        self.lb.enabled.unwrap_or(self.client.enabled)
    }

    /// The roles that are on, in the words of the configuration.
    #[must_use]
    pub fn roles(&self) -> Vec<&'static str> {
        [
            (self.server.enabled, "server"),
            (self.client.enabled, "client"),
            (self.discovery.enabled, "discovery"),
            (self.lb_enabled(), "lb"),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect()
    }

    /// RPC addresses of the servers this agent follows when it is none itself.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        let mut all = self.client.servers.clone();
        for address in &self.lb.servers {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Read one file into this configuration; later files win over earlier ones.
    fn merge_file(&mut self, path: &Path) -> Result<(), Error> {
        keys::apply(self, &tree::read(path)?)
    }
}

/// The host's name, or `trine` where it has none that can be used.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || name == "(none)" { "trine".into() } else { name.into() }
}

#[cfg(test)]
mod tests;
