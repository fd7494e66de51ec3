//! `trine server members` and `trine system gc`.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::{
    connection::Connection,
    render::{self, list, text},
};

#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    #[command(subcommand)]
    command: ServerCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ServerCommand {
    /// List the servers
    Members(MembersArgs),
}

#[derive(Debug, clap::Args)]
struct MembersArgs {
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
}

impl ServerArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let ServerCommand::Members(args) = self.command;
        super::small_runtime()?.block_on(members(args))
    }
}

async fn members(args: MembersArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let reply: Value = client.get("/v1/agent/members").await?;
    if args.json {
        render::print_json(&reply)?;
        return Ok(ExitCode::SUCCESS);
    }
    let leader: String = client.get("/v1/status/leader").await?;
    let rows: Vec<_> = list(&reply, "Members")
        .iter()
        .map(|m| {
            let tags = &m["Tags"];
            let leads =
                text(tags, "rpc_addr") == leader || format!("{}:{}", text(m, "Addr"), text(tags, "port")) == leader;
            vec![
                text(m, "Name"),
                text(m, "Addr"),
                text(m, "Port"),
                text(m, "Status"),
                leads.to_string(),
                text(tags, "raft_vsn"),
                text(tags, "build"),
                text(tags, "dc"),
                text(tags, "region"),
            ]
        })
        .collect();
    let head = ["Name", "Address", "Port", "Status", "Leader", "Raft Version", "Build", "Datacenter", "Region"];
    println!("{}", render::table(&head, &rows));
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
pub struct SystemArgs {
    #[command(subcommand)]
    command: SystemCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SystemCommand {
    /// Forget jobs, evaluations, allocations and deployments that are over
    Gc(GcArgs),
}

#[derive(Debug, clap::Args)]
struct GcArgs {
    #[command(flatten)]
    connection: Connection,
}

impl SystemArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let SystemCommand::Gc(args) = self.command;
        super::small_runtime()?.block_on(async {
            args.connection.scheduler()?.raw(Method::PUT, "/v1/system/gc", None).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
