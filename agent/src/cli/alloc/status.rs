//! `trine alloc status`.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::{
    connection::{Connection, Noun, whole_id},
    render::{self, ago, entries, list, short, text},
};

/// How many events of a task are shown.
const EVENTS: usize = 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The allocation's id, or the beginning of it
    alloc: String,
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
    /// Show whole ids and why this node was chosen
    #[arg(long)]
    verbose: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = whole_id(&client, Noun::Alloc, &args.alloc).await?;
    let alloc: Value = client.get(&format!("/v1/allocation/{id}")).await?;
    if args.json {
        render::print_json(&alloc)?;
        return Ok(ExitCode::SUCCESS);
    }
    overview(&alloc, args.verbose);
    addresses(&alloc);
    for (name, state) in entries(&alloc, "TaskStates") {
        task(&alloc, name, state);
    }
    if args.verbose {
        scores(&alloc);
    }
    Ok(ExitCode::SUCCESS)
}

fn overview(alloc: &Value, verbose: bool) {
    let id = |field: &str| if verbose { text(alloc, field) } else { short(&text(alloc, field)) };
    let health = match alloc["DeploymentStatus"]["Healthy"].as_bool() {
        Some(true) => "healthy",
        Some(false) => "unhealthy",
        None if !text(alloc, "DeploymentID").is_empty() => "unset",
        None => "",
    };
    let version =
        if alloc["JobVersion"].is_null() { text(&alloc["Job"], "Version") } else { text(alloc, "JobVersion") };
    println!(
        "{}",
        render::block(&[
            ("ID", id("ID")),
            ("Eval ID", id("EvalID")),
            ("Name", text(alloc, "Name")),
            ("Node ID", id("NodeID")),
            ("Node Name", text(alloc, "NodeName")),
            ("Job ID", text(alloc, "JobID")),
            ("Job Version", version),
            ("Client Status", text(alloc, "ClientStatus")),
            ("Client Description", text(alloc, "ClientDescription")),
            ("Desired Status", text(alloc, "DesiredStatus")),
            ("Desired Description", text(alloc, "DesiredDescription")),
            ("Created", ago(&alloc["CreateTime"])),
            ("Modified", ago(&alloc["ModifyTime"])),
            ("Deployment ID", id("DeploymentID")),
            ("Deployment Health", health.to_owned()),
            ("Replacement Alloc ID", id("NextAllocation")),
        ])
    );
}

fn addresses(alloc: &Value) {
    let ports = list(&alloc["AllocatedResources"]["Shared"], "Ports");
    if ports.is_empty() {
        return;
    }
    let rows: Vec<_> = ports
        .iter()
        .map(|p| {
            let (to, value) = (p["To"].as_i64().unwrap_or(0), p["Value"].as_i64().unwrap_or(0));
            let mapped = if to > 0 && to != value { format!(" -> {to}") } else { String::new() };
            vec![format!("*{}", text(p, "Label")), "yes".into(), format!("{}:{value}{mapped}", text(p, "HostIP"))]
        })
        .collect();
    render::heading("Allocation Addresses:");
    println!("{}", render::table(&["Label", "Dynamic", "Address"], &rows));
}

fn task(alloc: &Value, name: &str, state: &Value) {
    let failed = if state["Failed"] == true { " (failed)" } else { "" };
    render::heading(&format!("Task \"{name}\" is \"{}\"{failed}", text(state, "State")));
    let given = &alloc["AllocatedResources"]["Tasks"][name];
    let row = vec![
        format!("{} MHz", text(&given["Cpu"], "CpuShares")),
        format!("{} MiB", text(&given["Memory"], "MemoryMB")),
        format!("{} MiB", text(&alloc["AllocatedResources"]["Shared"], "DiskMB")),
    ];
    println!("Task Resources:\n{}", render::table(&["CPU", "Memory", "Disk"], &[row]));
    println!(
        "\nTask Events:\n{}",
        render::block(&[
            ("Started At", text(state, "StartedAt")),
            ("Finished At", text(state, "FinishedAt")),
            ("Total Restarts", text(state, "Restarts")),
            ("Last Restart", text(state, "LastRestart")),
        ])
    );
    let rows: Vec<_> = list(state, "Events")
        .iter()
        .rev()
        .take(EVENTS)
        .map(|e| vec![render::utc(e["Time"].as_u64().unwrap_or(0)), text(e, "Type"), text(e, "DisplayMessage")])
        .collect();
    println!("\nRecent Events:\n{}", render::table(&["Time", "Type", "Description"], &rows));
}

fn scores(alloc: &Value) {
    let rows: Vec<_> = list(&alloc["Metrics"], "ScoreMetaData")
        .iter()
        .map(|s| {
            let parts: Vec<_> = entries(s, "Scores").map(|(k, v)| format!("{k} {v}")).collect();
            vec![text(s, "NodeID"), parts.join(", "), text(s, "NormScore")]
        })
        .collect();
    render::heading("Placement Metrics");
    println!("{}", render::table(&["Node", "scores", "final score"], &rows));
}
