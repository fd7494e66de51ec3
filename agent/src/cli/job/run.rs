//! `trine job run`: submit, then show the roll-out live until it is healthy, or why it is not.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Follow, monitor, source::Source};
use crate::cli::render;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    follow: Follow,
    /// Submit only if the job's modify index is still this; 0 = only if it does not exist
    #[arg(long, value_name = "N")]
    check_index: Option<u64>,
    /// Keep the counts of a running job
    #[arg(long)]
    preserve_counts: bool,
    /// Priority of the evaluation
    #[arg(long, value_name = "N")]
    eval_priority: Option<u8>,
    /// Print the job as JSON and submit nothing
    #[arg(long)]
    output: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let loaded = args.source.load()?;
    if args.output {
        render::print_json(&json!({ "Job": loaded.json() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let client = args.follow.connection.scheduler()?;
    let mut body =
        json!({ "Job": loaded.json(), "Submission": loaded.submission(), "PreserveCounts": args.preserve_counts });
    if let Some(index) = args.check_index {
        body["EnforceIndex"] = true.into();
        body["JobModifyIndex"] = index.into();
    }
    if let Some(priority) = args.eval_priority {
        body["EvalPriority"] = priority.into();
    }
    let reply: Value = client.put("/v1/jobs", &body).await?;
    for warning in loaded.warnings {
        eprintln!("Warning: {warning}");
    }
    let warnings = render::text(&reply, "Warnings");
    if !warnings.is_empty() {
        eprintln!("Warning: {warnings}");
    }
    monitor::after(&client, &args.follow, &reply, "Job registration successful").await
}
