//! `trine deployment …`: roll-outs.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    connection::{Connection, Noun, whole_id},
    job::deployment as show,
    render::{self, short, text},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show a deployment
    Status(StatusArgs),
    /// List deployments
    List(ListArgs),
    /// Let the canaries become the job
    Promote(OneArgs),
    /// Mark a deployment as failed
    Fail(OneArgs),
    /// Hold a deployment
    Pause(OneArgs),
    /// Go on with a held deployment
    Resume(OneArgs),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The deployment's id, or the beginning of it
    deployment: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// Follow it to its end
    #[arg(long)]
    monitor: bool,
    #[arg(long)]
    verbose: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The deployment's id, or the beginning of it
    deployment: String,
    #[command(flatten)]
    connection: Connection,
    /// Do not follow it
    #[arg(long)]
    detach: bool,
    #[arg(long)]
    verbose: bool,
}

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                Command::Status(args) => status(args).await,
                Command::List(args) => list(args.connection, args.json).await,
                Command::Promote(args) => write(args, "promote", |id| json!({ "DeploymentID": id, "All": true })).await,
                Command::Fail(args) => write(args, "fail", |id| json!({ "DeploymentID": id })).await,
                Command::Pause(args) => write(args, "pause", |id| json!({ "DeploymentID": id, "Pause": true })).await,
                Command::Resume(args) => write(args, "pause", |id| json!({ "DeploymentID": id, "Pause": false })).await,
            }
        })
    }
}

async fn list(connection: Connection, json: bool) -> anyhow::Result<ExitCode> {
    let all: Value = connection.scheduler()?.get("/v1/deployments").await?;
    if json {
        render::print_json(&all)?;
    } else {
        print_list(all.as_array().map_or(&[], Vec::as_slice));
    }
    Ok(ExitCode::SUCCESS)
}

/// Deployments as a table.
pub fn print_list(all: &[Value]) {
    if all.is_empty() {
        println!("No deployments found");
        return;
    }
    let rows: Vec<_> = all
        .iter()
        .map(|d| {
            vec![
                short(&text(d, "ID")),
                text(d, "JobID"),
                text(d, "JobVersion"),
                text(d, "Status"),
                text(d, "StatusDescription"),
            ]
        })
        .collect();
    println!("{}", render::table(&["ID", "Job ID", "Job Version", "Status", "Description"], &rows));
}

async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let Some(prefix) = &args.deployment else { return list(args.connection, args.json).await };
    let client = args.connection.scheduler()?;
    let id = whole_id(&client, Noun::Deployment, prefix).await?;
    if args.monitor {
        return show::follow(&client, &id, args.verbose).await;
    }
    let d: Value = client.get(&format!("/v1/deployment/{id}")).await?;
    if args.json {
        render::print_json(&d)?;
    } else {
        println!("{}", show::picture(&d, args.verbose));
    }
    Ok(ExitCode::SUCCESS)
}

async fn write(args: OneArgs, verb: &str, body: fn(&str) -> Value) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = whole_id(&client, Noun::Deployment, &args.deployment).await?;
    let reply: Value = client.put(&format!("/v1/deployment/{verb}/{id}"), &body(&id)).await?;
    if args.detach || verb == "pause" {
        println!("Deployment {} updated; evaluation {}", short(&id), text(&reply, "EvalID"));
        return Ok(ExitCode::SUCCESS);
    }
    let code = show::follow(&client, &id, args.verbose).await?;
    // Failing a deployment is what was asked for.
    Ok(if verb == "fail" { ExitCode::SUCCESS } else { code })
}
