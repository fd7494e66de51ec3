//! `trine job history` and `trine job revert`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Follow, monitor, path};
use crate::cli::{
    connection::Connection,
    render::{self, list, text},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's id
    job: String,
    #[command(flatten)]
    connection: Connection,
    /// Only this version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let reply: Value = client.get(&path(&args.job, "/versions")).await?;
    let versions: Vec<_> = list(&reply, "Versions")
        .iter()
        .filter(|v| args.version.is_none_or(|n| v["Version"].as_u64() == Some(n)))
        .cloned()
        .collect();
    if args.json {
        render::print_json(&Value::Array(versions))?;
        return Ok(ExitCode::SUCCESS);
    }
    let blocks: Vec<_> = versions
        .iter()
        .map(|v| {
            render::block(&[
                ("Version", text(v, "Version")),
                ("Stable", text(v, "Stable")),
                ("Stopped", if v["Stop"] == true { "true".into() } else { String::new() }),
                ("Submit Date", render::utc(v["SubmitTime"].as_u64().unwrap_or(0))),
                (
                    "Groups",
                    list(v, "TaskGroups")
                        .iter()
                        .map(|g| format!("{} x{}", text(g, "Name"), text(g, "Count")))
                        .collect::<Vec<_>>()
                        .join(", "),
                ),
            ])
        })
        .collect();
    println!("{}", blocks.join("\n\n"));
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
pub struct RevertArgs {
    /// The job's id
    job: String,
    /// The version to go back to
    version: u64,
    #[command(flatten)]
    follow: Follow,
}

pub async fn revert(args: RevertArgs) -> anyhow::Result<ExitCode> {
    let client = args.follow.connection.scheduler()?;
    let body = json!({ "JobID": args.job, "JobVersion": args.version });
    let reply: Value = client.put(&path(&args.job, "/revert"), &body).await?;
    monitor::after(&client, &args.follow, &reply, "Job reverted").await
}
