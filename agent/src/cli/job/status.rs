//! `trine job status`, `inspect`, `allocs` and `deployments`.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value;

use super::{deployment, monitor, path};
use crate::cli::{
    client::{Client, with_query},
    connection::Connection,
    render::{self, ago, entries, list, short, text},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's id, or the beginning of it; without it all jobs are listed
    job: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// Show evaluations too
    #[arg(long)]
    evals: bool,
    /// Show every allocation, also those of earlier registrations
    #[arg(long)]
    all_allocs: bool,
    /// Show whole ids and node names
    #[arg(long)]
    verbose: bool,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    match &args.job {
        None => all(&client, args.json).await?,
        Some(job) => {
            let job = whole_job(&client, job).await?;
            one(&client, &job, &args).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The job's id, from all of it or its beginning.
async fn whole_job(client: &Client, id: &str) -> anyhow::Result<String> {
    let found: Vec<Value> = client.get(&with_query("/v1/jobs", &[("prefix", id)])).await?;
    let ids: Vec<_> = found.iter().map(|j| text(j, "ID")).collect();
    if ids.iter().any(|i| i == id) {
        return Ok(id.to_owned());
    }
    match ids.as_slice() {
        [] => bail!("no job has an id that begins with {id:?}; `trine job status` lists all"),
        [one] => Ok(one.clone()),
        many => bail!("{} jobs begin with {id:?}; say which:\n  {}", many.len(), many.join("\n  ")),
    }
}

async fn all(client: &Client, json: bool) -> anyhow::Result<()> {
    let jobs: Value = client.get("/v1/jobs").await?;
    if json {
        return render::print_json(&jobs);
    }
    let jobs = jobs.as_array().cloned().unwrap_or_default();
    if jobs.is_empty() {
        println!("No running jobs");
        return Ok(());
    }
    let rows: Vec<_> = jobs
        .iter()
        .map(|j| {
            let status = if j["Stop"] == true { format!("{} (stopped)", text(j, "Status")) } else { text(j, "Status") };
            vec![
                text(j, "ID"),
                text(j, "Type"),
                text(j, "Priority"),
                status,
                render::utc(j["SubmitTime"].as_u64().unwrap_or(0)),
            ]
        })
        .collect();
    println!("{}", render::table(&["ID", "Type", "Priority", "Status", "Submit Date"], &rows));
    Ok(())
}

async fn one(client: &Client, id: &str, args: &Args) -> anyhow::Result<()> {
    let job: Value = client.get(&path(id, "")).await?;
    let allocs_path = if args.all_allocs {
        with_query(&path(id, "/allocations"), &[("all", "true")])
    } else {
        path(id, "/allocations")
    };
    let allocs: Vec<Value> = client.get(&allocs_path).await?;
    if args.json {
        return render::print_json(&job);
    }
    let status = if job["Stop"] == true { format!("{} (stopped)", text(&job, "Status")) } else { text(&job, "Status") };
    let datacenters = list(&job, "Datacenters").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    println!(
        "{}",
        render::block(&[
            ("ID", text(&job, "ID")),
            ("Name", text(&job, "Name")),
            ("Submit Date", render::utc(job["SubmitTime"].as_u64().unwrap_or(0))),
            ("Type", text(&job, "Type")),
            ("Priority", text(&job, "Priority")),
            ("Datacenters", datacenters),
            ("Namespace", text(&job, "Namespace")),
            ("Node Pool", text(&job, "NodePool")),
            ("Status", status),
            ("Version", text(&job, "Version")),
            ("Periodic", (!job["Periodic"].is_null()).to_string()),
            ("Parameterized", (!job["ParameterizedJob"].is_null()).to_string()),
        ])
    );
    summary(client, id).await?;
    evaluations(client, id, args).await?;
    let latest: Value = client.get(&path(id, "/deployment")).await?;
    if !latest.is_null() {
        render::heading("Latest Deployment");
        println!("{}", deployment::picture(&latest, args.verbose));
    }
    render::heading("Allocations");
    print_allocs(&allocs, args.verbose);
    Ok(())
}

async fn summary(client: &Client, id: &str) -> anyhow::Result<()> {
    let summary: Value = client.get(&path(id, "/summary")).await?;
    let fields = ["Queued", "Starting", "Running", "Failed", "Complete", "Lost", "Unknown"];
    let rows: Vec<_> = entries(&summary, "Summary")
        .map(|(group, s)| std::iter::once(group.clone()).chain(fields.iter().map(|f| text(s, f))).collect())
        .collect();
    render::heading("Summary");
    let head: Vec<_> = std::iter::once("Task Group").chain(fields).collect();
    println!("{}", render::table(&head, &rows));
    Ok(())
}

/// Why something waits, always; all evaluations when asked for.
async fn evaluations(client: &Client, id: &str, args: &Args) -> anyhow::Result<()> {
    let evals: Vec<Value> = client.get(&path(id, "/evaluations")).await?;
    if args.evals {
        let rows: Vec<_> = evals
            .iter()
            .map(|e| {
                let failed = entries(e, "FailedTGAllocs").next().is_some();
                vec![
                    short(&text(e, "ID")),
                    text(e, "Priority"),
                    text(e, "TriggeredBy"),
                    text(e, "Status"),
                    failed.to_string(),
                ]
            })
            .collect();
        render::heading("Evaluations");
        println!("{}", render::table(&["ID", "Priority", "Triggered By", "Status", "Placement Failures"], &rows));
    }
    for eval in evals.iter().filter(|e| e["Status"] == "blocked") {
        for (group, metric) in entries(eval, "FailedTGAllocs") {
            render::heading("Placement Failure");
            println!("Task Group \"{group}\":");
            for reason in monitor::reasons(metric) {
                println!("  * {reason}");
            }
        }
    }
    Ok(())
}

fn print_allocs(allocs: &[Value], verbose: bool) {
    if allocs.is_empty() {
        println!("No allocations placed");
        return;
    }
    let id = |v: &Value, field: &str| if verbose { text(v, field) } else { short(&text(v, field)) };
    let mut sorted: Vec<_> = allocs.iter().collect();
    sorted.sort_by_key(|a| std::cmp::Reverse(a["CreateIndex"].as_u64()));
    let rows: Vec<_> = sorted
        .iter()
        .map(|a| {
            vec![
                id(a, "ID"),
                id(a, "NodeID"),
                text(a, "TaskGroup"),
                text(a, "JobVersion"),
                text(a, "DesiredStatus"),
                text(a, "ClientStatus"),
                ago(&a["CreateTime"]),
                ago(&a["ModifyTime"]),
            ]
        })
        .collect();
    let head = ["ID", "Node ID", "Task Group", "Version", "Desired", "Status", "Created", "Modified"];
    println!("{}", render::table(&head, &rows));
}

#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The job's id
    job: String,
    #[command(flatten)]
    connection: Connection,
}

pub async fn inspect(args: InspectArgs) -> anyhow::Result<ExitCode> {
    let job: Value = args.connection.scheduler()?.get(&path(&args.job, "")).await?;
    render::print_json(&serde_json::json!({ "Job": job }))?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
pub struct AllocsArgs {
    /// The job's id
    job: String,
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
    #[arg(long)]
    verbose: bool,
}

pub async fn allocs(args: AllocsArgs) -> anyhow::Result<ExitCode> {
    let allocs: Value = args.connection.scheduler()?.get(&path(&args.job, "/allocations")).await?;
    if args.json {
        render::print_json(&allocs)?;
    } else {
        print_allocs(allocs.as_array().map_or(&[], Vec::as_slice), args.verbose);
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
pub struct DeploymentsArgs {
    /// The job's id
    job: String,
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
}

pub async fn deployments(args: DeploymentsArgs) -> anyhow::Result<ExitCode> {
    let all: Value = args.connection.scheduler()?.get(&path(&args.job, "/deployments")).await?;
    if args.json {
        render::print_json(&all)?;
    } else {
        crate::cli::deployment::print_list(all.as_array().map_or(&[], Vec::as_slice));
    }
    Ok(ExitCode::SUCCESS)
}
