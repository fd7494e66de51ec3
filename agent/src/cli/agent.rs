//! `trine agent`: flags, configuration, and the life of the agent from start to signal.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use crate::{
    config::{self, Config, Flags},
    telemetry,
};

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

fn start(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::init(&telemetry::Logs { level: config.log_level.clone(), json: config.log_json })?;
    anyhow::bail!("roles {:?} cannot be started: assembly has not landed", config.roles())
}
