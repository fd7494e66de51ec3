//! What the APIs say about the agent they run in.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime},
};

use futures_util::future::BoxFuture;
use model::{NodeId, Replica};
use scheduler::{
    http::{AgentInfo, Health, Member},
    raft::RaftReplica,
};
use serde_json::{Value, json};

use crate::{
    assemble::Addresses,
    cli::version::VERSION,
    config::Config,
    metrics::{self, Figure},
};

/// Figures another role adds; called whenever metrics are asked for.
pub type Gather = Box<dyn Fn() -> Vec<Figure> + Send + Sync>;

/// One agent, seen from its APIs.
pub struct Info {
    pub config: Arc<Config>,
    pub addresses: Addresses,
    pub replica: Arc<dyn Replica>,
    /// The server role's log.
    pub raft: Option<Arc<RaftReplica>>,
    /// RPC address of this server as others are told.
    pub rpc_advertised: Option<String>,
    /// The address of this agent's node in the catalog.
    pub address: String,
    pub started: Instant,
    /// Known once the client role has started.
    pub node_id: OnceLock<NodeId>,
    pub balancer: OnceLock<Gather>,
}

const NO_RELOAD: &str =
    "reloading the configuration is not built yet: restart the agent; outside -dev its tasks keep running";

impl Info {
    fn figures(&self) -> Vec<Figure> {
        let state = self.replica.snapshot();
        let mut all = metrics::of_state(&state);
        let waiters = self.replica.waiters().len();
        all.push(Figure::gauge("trine_waiters", "Readers that wait for a change", metrics::count(waiters)));
        if let Some(raft) = &self.raft {
            let m = raft.metrics();
            let number = |name, help, n| Figure::gauge(name, help, metrics::index(n));
            all.extend([
                number("trine_raft_term", "Term of the replicated log", m.term),
                number("trine_raft_last_log_index", "Last entry written", m.last_log_index),
                number("trine_raft_commit_index", "Last entry committed", m.commit_index),
                number("trine_raft_applied_index", "Last entry applied", m.applied_index),
                number("trine_raft_snapshot_index", "Last entry in the newest snapshot", m.last_snapshot_index),
                number("trine_raft_leader", "1 while this server leads", u64::from(m.state == "Leader")),
            ]);
        }
        if let Some(gather) = self.balancer.get() {
            all.extend(gather());
        }
        all.extend(metrics::of_process(self.started.elapsed()));
        all
    }

    fn voters(&self) -> Vec<String> {
        match &self.rpc_advertised {
            Some(own) if self.config.server.enabled => vec![own.clone()],
            _ => self.config.servers(),
        }
    }

    fn leader_address(&self) -> Option<String> {
        self.replica.leadership().borrow().leader.clone()
    }
}

fn port(address: Option<SocketAddr>) -> Value {
    address.map_or(Value::Null, |a| a.port().into())
}

impl AgentInfo for Info {
    fn name(&self) -> String {
        self.config.name.clone()
    }

    fn region(&self) -> String {
        self.config.region.clone()
    }

    fn datacenter(&self) -> String {
        self.config.datacenter.clone()
    }

    fn version(&self) -> String {
        VERSION.into()
    }

    fn node_id(&self) -> Option<NodeId> {
        self.node_id.get().copied()
    }

    fn config(&self) -> Value {
        let (c, a) = (&self.config, &self.addresses);
        json!({
            "Region": c.region,
            "Datacenter": c.datacenter,
            "NodeName": c.name,
            "Name": c.name,
            "DataDir": c.data_dir.as_ref().map(|d| d.display().to_string()),
            "BindAddr": c.bind_addr.to_string(),
            "DevMode": c.dev,
            "LogLevel": c.log_level,
            "Ports": {
                "HTTP": port(a.http), "RPC": port(a.rpc), "Catalog": port(a.catalog), "DNS": port(a.dns),
                "LB": port(a.lb), "LBAdmin": port(a.lb_admin),
            },
            "Server": { "Enabled": c.server.enabled, "BootstrapExpect": c.server.bootstrap_expect },
            "Client": {
                "Enabled": c.client.enabled, "NodeClass": c.client.node_class, "NodePool": c.client.node_pool,
                "Meta": c.client.meta, "Servers": c.client.servers,
            },
            "Discovery": { "Enabled": c.discovery.enabled, "Domain": c.discovery.domain },
            "LB": { "Enabled": c.lb_enabled() },
            "Version": { "Version": VERSION },
        })
    }

    fn stats(&self) -> Value {
        let mut raft = BTreeMap::new();
        if let Some(replica) = &self.raft {
            let m = replica.metrics();
            raft.insert("state", m.state);
            raft.insert("term", m.term.to_string());
            raft.insert("last_log_index", m.last_log_index.to_string());
            raft.insert("commit_index", m.commit_index.to_string());
            raft.insert("applied_index", m.applied_index.to_string());
            raft.insert("last_snapshot_index", m.last_snapshot_index.to_string());
            raft.insert("stopped", m.stopped.unwrap_or_default());
        }
        json!({
            "trine": {
                "roles": self.config.roles().join(","),
                "leader_addr": self.leader_address().unwrap_or_default(),
                "uptime_seconds": self.started.elapsed().as_secs().to_string(),
            },
            "raft": raft,
        })
    }

    fn members(&self) -> Vec<Member> {
        let Some((address, port)) = self.rpc_advertised.as_deref().and_then(|a| a.rsplit_once(':')) else {
            return Vec::new();
        };
        if !self.config.server.enabled {
            return Vec::new();
        }
        vec![Member {
            name: self.config.name.clone(),
            address: address.trim_matches(['[', ']']).to_owned(),
            port: port.parse().unwrap_or(0),
            status: "alive".into(),
            build: VERSION.into(),
        }]
    }

    fn servers(&self) -> Vec<String> {
        self.voters()
    }

    fn leader(&self) -> Option<String> {
        self.leader_address()
    }

    fn server_health(&self) -> Option<Health> {
        let raft = self.raft.as_ref()?;
        Some(match (raft.stopped(), self.leader_address()) {
            (Some(reason), _) => Health { ok: false, message: reason },
            (None, None) => Health { ok: false, message: "No cluster leader".into() },
            (None, Some(_)) => Health { ok: true, message: "ok".into() },
        })
    }

    fn client_health(&self) -> Option<Health> {
        if !self.config.client.enabled {
            return None;
        }
        let state = self.replica.snapshot();
        let ready =
            self.node_id.get().and_then(|id| state.node(*id)).is_some_and(|n| n.status == model::NodeStatus::Ready);
        let message =
            if ready { "ok" } else { "the node is not ready: it waits for a server to take its registration" };
        Some(Health { ok: ready, message: message.into() })
    }

    fn metrics(&self, prometheus: bool) -> String {
        if prometheus && !self.config.telemetry.prometheus_metrics {
            // The API answers an empty text with 415, as it does where the format was not switched on.
            return String::new();
        }
        let figures = self.figures();
        if prometheus {
            metrics::prometheus(&figures)
        } else {
            metrics::json(&figures, &utc(SystemTime::now())).to_string()
        }
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Err(NO_RELOAD.to_owned()) })
    }
}

/// `2026-11-22 13:10:00 +0000 UTC`, as clients of this document parse it.
fn utc(now: SystemTime) -> String {
    format!("{} +0000 UTC", crate::http_echo::log_time(now).replace('/', "-"))
}

impl discovery::http::AgentInfo for Info {
    fn version(&self) -> String {
        VERSION.into()
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn is_server(&self) -> bool {
        self.config.server.enabled
    }

    fn peers(&self) -> Vec<String> {
        self.voters()
    }

    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let own = AgentInfo::stats(self);
        let mut all: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_value(own).unwrap_or_default();
        let leader = self.leader_address().unwrap_or_default();
        let consul = all.entry("consul".into()).or_default();
        consul.insert("server".into(), self.config.server.enabled.to_string());
        consul.insert("leader_addr".into(), leader);
        all
    }

    fn reload(&self) -> Result<(), String> {
        Err(NO_RELOAD.to_owned())
    }
}
