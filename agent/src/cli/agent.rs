//! `trine agent`: flags, configuration, and the life of the agent from start to signal.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    assemble::Agent,
    config::{self, Config, Flags},
    telemetry,
};

/// Threads for control work.
const WORKERS: usize = 2;
/// Signals this close together are one wish.
const SAME_SIGNAL: std::time::Duration = std::time::Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trine agent -dev\n  trine agent -config /etc/trine.d -data-dir /var/lib/trine\n  trine agent -lb -servers 127.0.0.1:4647 -port http=0"
)]
pub struct Args {
    /// Every role on this machine's loopback, keeping nothing
    #[arg(long)]
    dev: bool,
    /// Configuration file or directory; may be given several times, later ones win
    #[arg(long, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Where the log and allocations are kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,
    /// Allow an address that others can reach although nothing is encrypted
    #[arg(long)]
    insecure: bool,
    /// Name of this node (default: the host's name)
    #[arg(long, alias = "name", value_name = "NAME")]
    node: Option<String>,
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Datacenter of this node
    #[arg(long, alias = "datacenter", value_name = "NAME")]
    dc: Option<String>,
    /// Switch on the server role
    #[arg(long)]
    server: bool,
    /// Switch on the client role
    #[arg(long)]
    client: bool,
    /// Switch on discovery: catalog API and DNS
    #[arg(long)]
    discovery: bool,
    /// Switch on the load balancer
    #[arg(long)]
    lb: bool,
    /// RPC addresses of servers, for an agent that is none
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
    servers: Vec<String>,
    /// Set a port: http, rpc, catalog, dns, lb, lb_admin; 0 takes a free one
    #[arg(long, value_name = "NAME=PORT")]
    port: Vec<String>,
    /// trace, debug, info, warn, error
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log as JSON
    #[arg(long)]
    log_json: bool,
}

impl Args {
    fn flags(&self) -> Flags {
        Flags {
            dev: self.dev,
            region: self.region.clone(),
            datacenter: self.dc.clone(),
            name: self.node.clone(),
            data_dir: self.data_dir.clone(),
            bind: self.bind,
            insecure: self.insecure,
            log_level: self.log_level.clone(),
            log_json: self.log_json,
            server: self.server,
            client: self.client,
            discovery: self.discovery,
            lb: self.lb,
            servers: self.servers.clone(),
            ports: self.port.clone(),
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.config, |name| std::env::var(name).ok(), &args.flags())?;
    start(config)
}

/// What a link named `fabio` understands.
#[derive(Debug, clap::Args)]
pub struct FabioArgs {
    /// Where traffic is accepted
    #[arg(long = "proxy.addr", default_value = ":9999", value_name = "ADDR")]
    proxy_addr: String,
    /// Where the routes page is served
    #[arg(long = "ui.addr", default_value = ":9998", value_name = "ADDR")]
    ui_addr: String,
    /// RPC address of the agent that feeds it
    #[arg(long, env = "TRINE_RPC_ADDR", default_value = "127.0.0.1:4647", value_name = "HOST:PORT")]
    rpc_addr: String,
    /// How an instance is picked: rnd or rr
    #[arg(long = "proxy.strategy", default_value = "rnd", value_parser = ["rnd", "rr"])]
    strategy: String,
    #[arg(long = "log.level", default_value = "info")]
    log_level: String,
}

/// The load balancer alone, fed by an agent's RPC.
pub fn run_as_fabio(args: &FabioArgs) -> anyhow::Result<ExitCode> {
    start(fabio_config(args)?)
}

fn fabio_config(args: &FabioArgs) -> anyhow::Result<Config> {
    let (proxy_ip, proxy_port) = listen_address("-proxy.addr", &args.proxy_addr)?;
    let (ui_ip, ui_port) = listen_address("-ui.addr", &args.ui_addr)?;
    let mut config = Config { log_level: args.log_level.to_ascii_lowercase(), ..Config::default() };
    config.lb.enabled = Some(true);
    config.lb.bind_addr = Some(proxy_ip);
    config.lb.admin_bind_addr = Some(ui_ip);
    config.lb.servers = vec![args.rpc_addr.clone()];
    config.lb.strategy = if args.strategy == "rr" { config::Strategy::RoundRobin } else { config::Strategy::Random };
    // The routes page shows, it does not change anything; the original listens everywhere too.
    config.insecure = true;
    config.ports = config::Ports { lb: proxy_port, lb_admin: ui_port, ..config::Ports::free() };
    config.validate()?;
    Ok(config)
}

/// `:9999` or `10.0.0.1:9999`.
fn listen_address(flag: &str, text: &str) -> anyhow::Result<(IpAddr, u16)> {
    let wrong = || anyhow::anyhow!("{flag} {text:?}: write host:port or :port; other forms of this flag are not built");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let ip = if host.is_empty() {
        IpAddr::from([0, 0, 0, 0])
    } else {
        host.trim_matches(['[', ']']).parse().map_err(|_| wrong())?
    };
    Ok((ip, port))
}

/// The runtime of all control work; the log and the load balancer have threads of their own.
pub(super) fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}

fn start(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::init(&telemetry::Logs { level: config.log_level.clone(), json: config.log_json })?;
    control_runtime()?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install()?;
    let started = tokio::select! {
        started = Agent::start(config) => started?,
        signal = signals.next() => anyhow::bail!("{signal} before the agent was ready"),
    };
    let mut agent = started;
    eprintln!("{}", agent.banner());
    let code = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            ExitCode::SUCCESS
        }
        ended = agent.failure() => {
            eprintln!("Error: {ended}. The agent stops; tasks of a lasting agent keep running");
            ExitCode::FAILURE
        }
    };
    stop(agent, &mut signals).await;
    Ok(code)
}

/// Stop in good order; a second signal ends the process at once.
pub(super) async fn stop(agent: Agent, signals: &mut Signals) {
    let again = async {
        // Terminals and service managers send the first one to the whole group, so that it may arrive twice.
        let started = tokio::time::Instant::now();
        loop {
            let signal = signals.next().await;
            if started.elapsed() > SAME_SIGNAL {
                return signal;
            }
        }
    };
    tokio::select! {
        () = agent.stop() => {}
        signal = again => {
            eprintln!("{signal} again: ended without waiting");
            std::process::exit(1);
        }
    }
}

/// The signals that end an agent.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn install() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next signal to stop. SIGHUP is no such signal: a closed terminal must not take a cluster down.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: reloading the configuration is not built yet; restart the agent");
                }
            }
        }
    }
}
