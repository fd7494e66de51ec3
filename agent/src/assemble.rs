//! From a configuration to a running agent: ports first, then the log, then the roles, then the APIs.
//!
//! Owns the order of starting and of stopping, and the wiring between roles. Refuses: deciding anything a role decides.
//!
//! ```text
//!  Config ─► listeners ─► data directory ─► replica (Raft, or a follower of one) ─► leader loops · client · discovery · lb
//!                                                                                └─► HTTP API, UI
//! ```

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use model::{NodeId, Replica};
use scheduler::raft::RaftReplica;
use tokio_util::sync::CancellationToken;

use crate::{
    agent_info::Info,
    client,
    config::Config,
    supervise::{Ended, OnExit, Stage, Supervisor},
};

mod apis;
mod dir;
mod listeners;
mod roles;

use dir::DataDir;
use listeners::Listeners;

/// How long a start waits for its own server to lead, and its node to be registered.
const READY: Duration = Duration::from_secs(30);
/// How long stopping may take in all.
const STOP: Duration = Duration::from_secs(20);
/// How long tasks may take to end when the agent takes them with it.
const STOP_TASKS: Duration = Duration::from_secs(15);

/// How long the leader's loops may take to end before tasks are stopped.
const STOP_DECIDING: Duration = Duration::from_secs(3);
/// From a commit to its allocations being picked up by the client of the same agent, with room for a busy machine.
const LAST_PLAN: Duration = Duration::from_millis(100);

/// Where the agent listens; `None` for roles that are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub http: Option<SocketAddr>,
    pub rpc: Option<SocketAddr>,
    pub catalog: Option<SocketAddr>,
    pub dns: Option<SocketAddr>,
    pub lb: Option<SocketAddr>,
    pub lb_admin: Option<SocketAddr>,
}

/// A running agent.
pub struct Agent {
    pub config: Arc<Config>,
    pub addresses: Addresses,
    pub started: Instant,
    supervisor: Supervisor,
    replica: Arc<dyn Replica>,
    raft: Option<Arc<RaftReplica>>,
    client: Option<client::Handle>,
    data: DataDir,
}

/// What roles are started with.
struct Parts {
    config: Arc<Config>,
    supervisor: Supervisor,
    addresses: Addresses,
    replica: Arc<dyn Replica>,
    raft: Option<Arc<RaftReplica>>,
    node_id: NodeId,
    data: DataDir,
}

impl Agent {
    /// Start every role that is on. Ports and the data directory are checked before anything runs.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let started = Instant::now();
        let config = Arc::new(config);
        let (listeners, mut addresses) = Listeners::bind(&config)?;
        let data = DataDir::open(&config)?;
        let mut supervisor = Supervisor::default();
        let (replica, raft) = roles::replica(&config, &addresses, &data, &supervisor).await?;
        let result = Self::start_roles(
            Parts {
                config: Arc::clone(&config),
                supervisor: std::mem::take(&mut supervisor),
                addresses,
                replica,
                raft: raft.clone(),
                node_id: data.node_id(),
                data,
            },
            listeners,
            &mut addresses,
            started,
        )
        .await;
        if result.is_err()
            && let Some(raft) = raft
        {
            raft.shutdown().await;
        }
        result
    }

    async fn start_roles(
        mut parts: Parts,
        listeners: Listeners,
        addresses: &mut Addresses,
        started: Instant,
    ) -> anyhow::Result<Self> {
        let dns = roles::bind_dns(&parts).await?;
        parts.addresses.dns = dns.as_ref().map(discovery::dns::Server::addr);
        let balancer = roles::start_balancer(&mut parts)?;
        *addresses = parts.addresses;
        roles::start_server(&mut parts, listeners.rpc)?;
        let info = Arc::new(Info {
            config: Arc::clone(&parts.config),
            addresses: parts.addresses,
            replica: Arc::clone(&parts.replica),
            raft: parts.raft.clone(),
            rpc_advertised: parts.addresses.rpc.map(|a| listeners::advertised(&parts.config, a)),
            address: listeners::catalog_address(&parts.config),
            started,
            node_id: OnceLock::new(),
            balancer: OnceLock::new(),
        });
        roles::led(&parts, READY).await?;
        let client = roles::start_client(&mut parts).await?;
        if let Some(client) = &client {
            // Set once, here; nobody else can have set it before.
            let _ = info.node_id.set(client.node_id());
        }
        roles::start_discovery(&mut parts, dns, listeners.catalog, &info)?;
        roles::watch_balancer(&mut parts, balancer, &info).await;
        apis::start_http(&mut parts, listeners.http, &info, client.as_ref())?;
        let Parts { config, supervisor, addresses, replica, raft, data, .. } = parts;
        Ok(Self { config, addresses, started, supervisor, replica, raft, client, data })
    }

    /// Until a task ends that must not.
    pub async fn failure(&mut self) -> Ended {
        self.supervisor.failure().await
    }

    /// The concise block a person sees at the start.
    #[must_use]
    pub fn banner(&self) -> String {
        let a = &self.addresses;
        let mut lines = vec![format!(
            "Trine agent {:?} ready in {} ms: {}",
            self.config.name,
            self.started.elapsed().as_millis(),
            self.config.roles().join(", ")
        )];
        let mut row = |what: &str, address: Option<SocketAddr>, show: fn(SocketAddr) -> String| {
            if let Some(address) = address {
                lines.push(format!("  {what:<14} {}", show(address)));
            }
        };
        row("page, API", a.http, |a| format!("http://{a}/ui"));
        row("catalog API", a.catalog, |a| format!("http://{a}"));
        row("DNS", a.dns, |a| format!("{} port {} (UDP, TCP)", a.ip(), a.port()));
        row("load balancer", a.lb, |a| format!("http://{a}"));
        row("routes", a.lb_admin, |a| format!("http://{a}"));
        row("server RPC", a.rpc, |a| a.to_string());
        if let Some(dir) = self.data.kept() {
            lines.push(format!("  {:<14} {}", "data", dir.display()));
        }
        lines.join("\n")
    }

    /// Stop in good order: tasks first if they go with the agent, then the edge, the roles, the log.
    pub async fn stop(self) {
        let Self { config, mut supervisor, replica, raft, client, data, .. } = self;
        if let Some(client) = client.as_ref().filter(|_| !config.client.leave_tasks_running) {
            tracing::info!("stopping tasks");
            // A leader would replace every task that ends now.
            supervisor.halt(Stage::Decide, STOP_DECIDING).await;
            let end = async {
                client.stop_all_tasks().await;
                // What was placed by the last plan may have come in meanwhile.
                tokio::time::sleep(LAST_PLAN).await;
                client.stop_all_tasks().await;
            };
            if tokio::time::timeout(STOP_TASKS, end).await.is_err() {
                tracing::warn!(limit = ?STOP_TASKS, "tasks did not end in time");
            }
        }
        let aborted = supervisor.shutdown(STOP).await;
        if !aborted.is_empty() {
            tracing::warn!(tasks = aborted.join(", "), "ended the hard way");
        }
        drop((client, replica));
        if let Some(raft) = raft {
            raft.shutdown().await;
        }
        data.close();
    }
}

/// Adapt a task that cannot fail to the supervisor.
async fn endless(task: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    task.await;
    Ok(())
}

/// Turn a std listener into tokio's.
fn tokio_listener(listener: std::net::TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::from_std(listener).context("cannot watch a listening socket")
}

/// Tokens and spawning in one place.
impl Parts {
    fn token(&self, stage: Stage) -> CancellationToken {
        self.supervisor.token(stage)
    }

    fn spawn(&mut self, name: &'static str, stage: Stage, task: impl Future<Output = ()> + Send + 'static) {
        self.supervisor.spawn(name, stage, OnExit::StopAgent, endless(task));
    }
}
