//! `trine job scale` and `trine job eval`.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use super::{Follow, monitor, path};
use crate::cli::render::{list, text};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trine job scale http-echo 7\n  trine job scale shop web 3")]
pub struct Args {
    /// The job's id
    job: String,
    /// The group (may be left out when the job has one) and the count
    #[arg(num_args = 1..=2, value_names = ["GROUP", "COUNT"])]
    group_and_count: Vec<String>,
    #[command(flatten)]
    follow: Follow,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.follow.connection.scheduler()?;
    let (group, count) = match args.group_and_count.as_slice() {
        [count] => (None, count),
        [group, count] => (Some(group.clone()), count),
        _ => bail!("say how many: trine job scale {} COUNT", args.job),
    };
    let Ok(count) = count.parse::<u32>() else { bail!("{count:?} is not a count: give a whole number, 0 or more") };
    let group = match group {
        Some(group) => group,
        None => {
            let job: Value = client.get(&path(&args.job, "")).await?;
            match list(&job, "TaskGroups") {
                [one] => text(one, "Name"),
                many => {
                    let names: Vec<_> = many.iter().map(|g| text(g, "Name")).collect();
                    bail!("job \"{}\" has {} groups; say which: {}", args.job, many.len(), names.join(", "));
                }
            }
        }
    };
    let body = json!({ "Count": count, "Target": { "Group": group } });
    let reply: Value = client.put(&path(&args.job, "/scale"), &body).await?;
    monitor::after(&client, &args.follow, &reply, "Job scaled").await
}

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// The job's id
    job: String,
    #[command(flatten)]
    follow: Follow,
    /// Reschedule failed allocations now
    #[arg(long)]
    force_reschedule: bool,
}

pub async fn evaluate(args: EvalArgs) -> anyhow::Result<ExitCode> {
    let client = args.follow.connection.scheduler()?;
    let body = json!({ "JobID": args.job, "EvalOptions": { "ForceReschedule": args.force_reschedule } });
    let reply: Value = client.put(&path(&args.job, "/evaluate"), &body).await?;
    monitor::after(&client, &args.follow, &reply, "Evaluation created").await
}
