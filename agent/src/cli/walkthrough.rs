//! `trine walkthrough`: an agent in this process, the steps, and then either the end or the agent until Ctrl-C.

use std::process::ExitCode;

use crate::{
    assemble::Agent,
    config::{Config, Ports},
    telemetry,
    walkthrough::{self, Addresses, Driver, Page},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End after the last step: 0, or 1 with the step that failed
    #[arg(long)]
    exit: bool,
    /// What runs the web servers: raw_exec or docker
    #[arg(long, default_value = "raw_exec", value_name = "DRIVER")]
    driver: Driver,
    /// Use free ports instead of the usual ones
    #[arg(long, env = "TRINE_WALKTHROUGH_FREE_PORTS", value_parser = clap::builder::FalseyValueParser::new())]
    free_ports: bool,
    /// What the agent logs meanwhile
    #[arg(long, default_value = "error", value_name = "LEVEL")]
    log_level: String,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&telemetry::Logs { level: args.log_level.clone(), json: false })?;
    let mut config = Config::dev();
    config.log_level.clone_from(&args.log_level);
    if args.free_ports {
        config.ports = Ports::free();
    }
    config.validate()?;
    super::agent::control_runtime()?.block_on(walk(args, config))
}

async fn walk(args: &Args, config: Config) -> anyhow::Result<ExitCode> {
    let page = Page::stdout();
    let mut signals = super::agent::Signals::install()?;
    page.text("Trine walkthrough: one agent, five job files, everything through its APIs.");
    let mut agent = Agent::start(config).await?;
    page.text("");
    page.text(&agent.banner());
    let addresses = addresses(&agent)?;
    let result = tokio::select! {
        result = walkthrough::run(addresses, args.driver, args.free_ports, &page) => Some(result),
        ended = agent.failure() => Some(Err(walkthrough::Failed::agent(&ended))),
        _ = signals.next() => None,
    };
    let failed = matches!(result, Some(Err(_)));
    if let Some(Err(e)) = &result {
        eprintln!("\nError: {e}");
    }
    if matches!(result, Some(Ok(()))) && !args.exit {
        page.text("\nThe agent stays up. Ctrl-C stops its tasks and ends it.");
        tokio::select! {
            _ = signals.next() => {}
            ended = agent.failure() => eprintln!("Error: {ended}"),
        }
    }
    super::agent::stop(agent, &mut signals).await;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn addresses(agent: &Agent) -> anyhow::Result<Addresses> {
    let a = agent.addresses;
    match (a.http, a.catalog, a.dns, a.lb, a.lb_admin) {
        (Some(http), Some(catalog), Some(dns), Some(lb), Some(lb_admin)) => {
            Ok(Addresses { http, catalog, dns, lb, lb_admin })
        }
        _ => anyhow::bail!("the agent of the walkthrough lacks a role: {a:?}"),
    }
}
