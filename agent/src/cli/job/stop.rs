//! `trine job stop`.

use std::process::ExitCode;

use serde_json::Value;

use super::{Follow, monitor, path};
use crate::cli::client::with_query;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's id
    job: String,
    #[command(flatten)]
    follow: Follow,
    /// Forget the job instead of keeping it as stopped
    #[arg(long)]
    purge: bool,
    /// Accepted for scripts: nothing is asked
    #[arg(long, short = 'y', hide = true)]
    yes: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.follow.connection.scheduler()?;
    let url = if args.purge { with_query(&path(&args.job, ""), &[("purge", "true")]) } else { path(&args.job, "") };
    let reply: Value = client.delete(&url).await?;
    monitor::after(&client, &args.follow, &reply, "Job stopped").await
}
