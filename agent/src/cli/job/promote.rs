//! `trine job promote`.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use super::{Follow, deployment, path};
use crate::cli::render::text;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's id
    job: String,
    /// Only this group; may be given several times
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    #[command(flatten)]
    follow: Follow,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.follow.connection.scheduler()?;
    let latest: Value = client.get(&path(&args.job, "/deployment")).await?;
    let id = text(&latest, "ID");
    if id.is_empty() {
        bail!("job \"{}\" has no deployment to promote", args.job);
    }
    let body = match args.group.as_slice() {
        [] => json!({ "DeploymentID": id, "All": true }),
        groups => json!({ "DeploymentID": id, "Groups": groups }),
    };
    let reply: Value = client.put(&format!("/v1/deployment/promote/{id}"), &body).await?;
    if args.follow.detach {
        println!("Evaluation ID: {}", text(&reply, "EvalID"));
        return Ok(ExitCode::SUCCESS);
    }
    deployment::follow(&client, &id, args.follow.verbose).await
}
