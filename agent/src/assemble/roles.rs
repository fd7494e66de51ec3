//! Starting each role with what it needs of the others.

use std::{collections::BTreeMap, net::TcpListener, sync::Arc, time::Duration};

use anyhow::Context as _;
use model::{Command, LbId, Replica};
use scheduler::{
    raft::{self, RaftReplica},
    rpc::{self, RemoteConfig, RemoteReplica},
};
use uuid::Uuid;

use super::{Addresses, DataDir, Parts, listeners, tokio_listener};
use crate::{
    agent_info::Info,
    client,
    config::{Config, Strategy},
    http_server, listen,
    metrics::{self, Figure},
    supervise::{OnExit, Stage, Supervisor},
};

/// How long the first contact with a server may take before the agent goes on waiting in the background.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// Requests in flight when the load balancer is stopped.
const LB_DRAIN: Duration = Duration::from_secs(10);
const LB_DRAIN_DEV: Duration = Duration::from_secs(1);

/// The load balancer of a node: the same after every restart.
fn balancer_id(node: model::NodeId) -> LbId {
    LbId(Uuid::new_v5(&node.0, b"lb"))
}

/// The state this agent reads: its own log, or a server's.
pub(super) async fn replica(
    config: &Config,
    addresses: &Addresses,
    data: &DataDir,
    supervisor: &Supervisor,
) -> anyhow::Result<(Arc<dyn Replica>, Option<Arc<RaftReplica>>)> {
    if config.server.enabled {
        let bound = addresses.rpc.context("the server role has no RPC address")?;
        let rpc_addr = listeners::advertised(config, bound);
        let raft = RaftReplica::open(raft::Config::new(data.path().to_owned(), config.name.clone(), rpc_addr)).await?;
        return Ok((Arc::clone(&raft) as Arc<dyn Replica>, Some(raft)));
    }
    let follow = RemoteConfig {
        servers: config.servers(),
        agent: config.name.clone(),
        balancer: config.lb_enabled().then(|| balancer_id(data.node_id())),
    };
    let remote = RemoteReplica::connect(follow, supervisor.token(Stage::Core))?;
    if tokio::time::timeout(FIRST_CONTACT, remote.synced()).await.is_err() {
        tracing::warn!(servers = ?config.servers(), "no server answers yet; trying on in the background");
    }
    Ok((remote, None))
}

/// Server RPC and the loops of the leader.
pub(super) fn start_server(parts: &mut Parts, listener: Option<TcpListener>) -> anyhow::Result<()> {
    let (Some(raft), Some(listener)) = (parts.raft.clone(), listener) else { return Ok(()) };
    let rpc = rpc::serve(tokio_listener(listener)?, Arc::clone(&raft), parts.token(Stage::Core));
    parts.supervisor.spawn("server RPC", Stage::Core, OnExit::StopAgent, rpc);
    let leader = scheduler::leader::run(raft, scheduler::leader::LeaderConfig::default(), parts.token(Stage::Decide));
    parts.spawn("leader loops", Stage::Decide, leader);
    Ok(())
}

/// Wait until this server leads. Agents that are no servers do not wait: they answer from what they have.
pub(super) async fn led(parts: &Parts, limit: Duration) -> anyhow::Result<()> {
    let Some(raft) = &parts.raft else { return Ok(()) };
    let mut leadership = parts.replica.leadership();
    let led = tokio::time::timeout(limit, leadership.wait_for(|l| l.is_leader)).await;
    match (led, raft.stopped()) {
        (Ok(Ok(_)), None) => Ok(()),
        (_, Some(reason)) => anyhow::bail!("the replicated log has stopped: {reason}"),
        _ => anyhow::bail!(
            "this server does not lead after {} s; the log may show why (-log-level debug)",
            limit.as_secs()
        ),
    }
}

/// The client role.
pub(super) async fn start_client(parts: &mut Parts) -> anyhow::Result<Option<client::Handle>> {
    if !parts.config.client.enabled {
        return Ok(None);
    }
    let config = client_config(parts);
    let handle = client::Client::start(config, Arc::clone(&parts.replica), parts.token(Stage::Role)).await?;
    let running = handle.clone();
    // Its tasks of work end after its token is cancelled; earlier would be an accident.
    parts.spawn("client", Stage::Role, async move { running.join().await });
    Ok(Some(handle))
}

fn client_config(parts: &Parts) -> client::Config {
    let (c, a) = (&*parts.config, &parts.addresses);
    let own = [
        (a.http, "http"),
        (a.rpc, "rpc"),
        (a.catalog, "catalog"),
        (a.dns, "dns"),
        (a.lb, "lb"),
        (a.lb_admin, "lb_admin"),
    ];
    let volumes = c.client.host_volumes.iter().map(|(k, v)| (k.clone(), (v.path.clone(), v.read_only)));
    client::Config {
        node_name: c.name.clone(),
        datacenter: c.datacenter.clone(),
        pool: c.client.node_pool.clone(),
        class: c.client.node_class.clone(),
        meta: c.client.meta.clone(),
        address: listeners::node_address(c),
        http_address: a.http.map(|bound| listeners::http_advertised(c, bound)).unwrap_or_default(),
        data_dir: parts.data.path().to_owned(),
        dev: c.dev,
        raw_exec_enabled: c.drivers.raw_exec,
        mock_enabled: c.drivers.mock,
        docker: client::config::DockerConfig {
            enabled: c.drivers.docker.enabled,
            endpoint: c.drivers.docker.endpoint.clone(),
            volumes_enabled: c.drivers.docker.volumes,
            allow_privileged: c.drivers.docker.allow_privileged,
            pull_timeout: c.drivers.docker.pull_timeout,
        },
        host_volumes: volumes.collect(),
        own_ports: own.into_iter().filter_map(|(addr, what)| addr.map(|a| (a.port(), what.to_owned()))).collect(),
        reserved: client::config::Reserved {
            cpu_mhz: c.client.reserved.cpu_mhz.into(),
            memory_mb: c.client.reserved.memory_mb,
            disk_mb: c.client.reserved.disk_mb,
            ports: c.client.reserved.ports.clone(),
        },
        cpu_total_mhz: c.client.cpu_total_mhz.map(u64::from),
        memory_total_mb: c.client.memory_total_mb,
        min_dynamic_port: c.client.min_dynamic_port,
        max_dynamic_port: c.client.max_dynamic_port,
        max_kill_timeout: c.client.max_kill_timeout,
        ..client::Config::default()
    }
}

/// DNS sockets, not answering yet.
pub(super) async fn bind_dns(parts: &Parts) -> anyhow::Result<Option<discovery::dns::Server>> {
    let c = &parts.config;
    if !c.discovery.enabled {
        return Ok(None);
    }
    let config = discovery::dns::Config {
        addr: (c.bind_addr, c.ports.dns).into(),
        domain: c.discovery.domain.clone(),
        datacenter: c.datacenter.clone(),
        node_ttl: c.discovery.node_ttl,
        service_ttl: BTreeMap::from([("*".to_owned(), c.discovery.service_ttl)]),
        ..discovery::dns::Config::default()
    };
    let bound = discovery::dns::Server::bind(config, Arc::clone(&parts.replica)).await;
    match bound {
        Ok(server) => Ok(Some(server)),
        Err(discovery::dns::Error::Bind { addr, source, .. }) => {
            Err(listen::Error::new(addr, "DNS (role discovery)", "dns", &source).into())
        }
        Err(e) => Err(e.into()),
    }
}

/// The catalog: DNS, HTTP API, and the checks of services registered through it.
pub(super) fn start_discovery(
    parts: &mut Parts,
    dns: Option<discovery::dns::Server>,
    listener: Option<TcpListener>,
    info: &Arc<Info>,
) -> anyhow::Result<()> {
    let (Some(dns), Some(listener)) = (dns, listener) else { return Ok(()) };
    let dns = dns.run(parts.token(Stage::Edge));
    parts.spawn("DNS", Stage::Edge, dns);
    let rpc_port = parts.addresses.rpc.map(|a| a.port());
    let local = discovery::local::Local::new(rpc_port);
    let name = parts.config.name.clone();
    let checks =
        discovery::local::run(Arc::clone(&parts.replica), name.clone(), local.clone(), parts.token(Stage::Role));
    parts.spawn("local checks", Stage::Role, checks);
    let router = discovery::http::router(discovery::http::Api {
        replica: Arc::clone(&parts.replica),
        node_name: name,
        datacenter: parts.config.datacenter.clone(),
        agent: Arc::clone(info) as Arc<dyn discovery::http::AgentInfo>,
        local,
    });
    let serve = http_server::serve(tokio_listener(listener)?, router, parts.token(Stage::Edge));
    parts.supervisor.spawn("catalog API", Stage::Edge, OnExit::StopAgent, serve);
    Ok(())
}

/// Take the load balancer's ports and start its threads; traffic waits until the routes are known.
pub(super) fn start_balancer(parts: &mut Parts) -> anyhow::Result<Option<lb::Handle>> {
    let c = Arc::clone(&parts.config);
    let id = balancer_id(parts.node_id);
    if !c.lb_enabled() {
        if parts.raft.is_some() {
            forget_balancer(parts, id);
        }
        return Ok(None);
    }
    let config = lb::Config {
        listen: listeners::traffic(&c),
        admin_listen: listeners::admin(&c),
        cores: c.lb.cores.unwrap_or(0),
        datacenter: c.datacenter.clone(),
        strategy: match c.lb.strategy {
            Strategy::RoundRobin => lb::pick::Strategy::RoundRobin,
            Strategy::Random => lb::pick::Strategy::Random,
        },
        shutdown_wait: if c.dev { LB_DRAIN_DEV } else { LB_DRAIN },
        ..lb::Config::default()
    };
    let handle = lb::start(config, Arc::clone(&parts.replica), id, c.name.clone(), parts.token(Stage::Edge))?;
    parts.addresses.lb = Some(handle.addr);
    parts.addresses.lb_admin = Some(handle.admin_addr);
    Ok(Some(handle))
}

/// The role was on before a restart and is off now: nobody may wait for it to let go of leaving instances.
fn forget_balancer(parts: &mut Parts, id: LbId) {
    let replica = Arc::clone(&parts.replica);
    let cancel = parts.token(Stage::Role);
    let work = async move {
        let mut leadership = replica.leadership();
        let led = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            led = leadership.wait_for(|l| l.leader.is_some()) => led.is_ok(),
        };
        if led && replica.snapshot().balancers.contains_key(&id) {
            replica.propose(Command::LbDeregister { id }).await?;
        }
        // Its work is done; ending now would look like an accident.
        cancel.cancelled().await;
        Ok::<_, model::ProposeError>(())
    };
    parts.supervisor.spawn("forget load balancer", Stage::Role, OnExit::Note, work);
}

/// Wait until the load balancer knows its routes, watch its end, and show its figures.
pub(super) async fn watch_balancer(parts: &mut Parts, handle: Option<lb::Handle>, info: &Info) {
    let Some(handle) = handle else { return };
    if tokio::time::timeout(FIRST_CONTACT, handle.ready()).await.is_err() {
        tracing::warn!("the load balancer has no routes yet: it waits for a server");
    }
    let view = handle.view();
    // Set once, here.
    let _ = info.balancer.set(Box::new(move || balancer_figures(&view.status())));
    parts.spawn("load balancer", Stage::Edge, handle.join());
}

fn balancer_figures(status: &lb::admin::wire::Status) -> Vec<Figure> {
    let rising = |name, help, n| Figure::counter(name, help, metrics::index(n));
    vec![
        rising("trine_lb_requests_total", "Requests taken by the load balancer", status.requests),
        rising("trine_lb_no_route_total", "Requests no route matched", status.no_route),
        rising(
            "trine_lb_client_errors_total",
            "Requests the load balancer answered 400 to 499 itself",
            status.client_errors,
        ),
        rising(
            "trine_lb_gateway_errors_total",
            "Requests the load balancer answered 500 and above itself",
            status.gateway_errors,
        ),
        Figure::gauge("trine_lb_connections", "Client connections now", metrics::index(status.connections)),
        Figure::gauge("trine_lb_websockets", "Tunnelled connections now", metrics::index(status.websockets)),
        Figure::gauge("trine_lb_routes", "Routes", metrics::count(status.routes.len())),
        Figure::gauge(
            "trine_lb_tag_problems",
            "Tags, or options of tags, without effect",
            metrics::count(status.problems.len()),
        ),
    ]
}
