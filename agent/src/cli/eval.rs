//! `trine eval …`: what the scheduler was asked to do, and why it could not.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    client::Client,
    connection::{Connection, Noun, whole_id},
    job::monitor,
    render::{self, entries, short, text},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show an evaluation
    Status(StatusArgs),
    /// List evaluations
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The evaluation's id, or the beginning of it
    eval: String,
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

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                Command::Status(args) => status(args).await,
                Command::List(args) => list(args).await,
            }
        })
    }
}

/// Follow an evaluation that a command made.
pub async fn follow(client: &Client, eval: &str, verbose: bool) -> anyhow::Result<ExitCode> {
    monitor::evaluation(client, eval, verbose).await
}

async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = whole_id(&client, Noun::Eval, &args.eval).await?;
    if args.monitor {
        return follow(&client, &id, args.verbose).await;
    }
    let eval: Value = client.get(&format!("/v1/evaluation/{id}")).await?;
    if args.json {
        render::print_json(&eval)?;
        return Ok(ExitCode::SUCCESS);
    }
    let failed = entries(&eval, "FailedTGAllocs").next().is_some();
    println!(
        "{}",
        render::block(&[
            ("ID", if args.verbose { id } else { short(&id) }),
            ("Status", text(&eval, "Status")),
            ("Status Description", text(&eval, "StatusDescription")),
            ("Type", text(&eval, "Type")),
            ("TriggeredBy", text(&eval, "TriggeredBy")),
            ("Job ID", text(&eval, "JobID")),
            ("Namespace", text(&eval, "Namespace")),
            ("Priority", text(&eval, "Priority")),
            ("Placement Failures", failed.to_string()),
        ])
    );
    for (group, metric) in entries(&eval, "FailedTGAllocs") {
        render::heading(&format!("Task Group \"{group}\" could not be placed whole"));
        for reason in monitor::reasons(metric) {
            println!("  * {reason}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let all: Value = args.connection.scheduler()?.get("/v1/evaluations").await?;
    if args.json {
        render::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = all
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| {
            let failed = entries(e, "FailedTGAllocs").next().is_some();
            vec![
                short(&text(e, "ID")),
                text(e, "Priority"),
                text(e, "TriggeredBy"),
                text(e, "JobID"),
                text(e, "Namespace"),
                text(e, "Status"),
                failed.to_string(),
            ]
        })
        .collect();
    println!(
        "{}",
        render::table(
            &["ID", "Priority", "Triggered By", "Job ID", "Namespace", "Status", "Placement Failures"],
            &rows
        )
    );
    Ok(ExitCode::SUCCESS)
}
