//! `trine node …`: the machines, draining them, keeping new work off them.

use std::{process::ExitCode, time::Duration};

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::{
    client::Client,
    connection::{Connection, Noun, whole_id},
    render::{self, ago, entries, list, short, text},
};

/// `node drain` without a deadline flag.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3600);
const WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trine node status\n  trine node drain -enable -self -deadline 10m\n  trine node eligibility -disable 3f2a"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List nodes, or show one
    Status(StatusArgs),
    /// Move a node's work elsewhere, or stop doing so
    Drain(DrainArgs),
    /// Say whether a node takes new work
    Eligibility(EligibilityArgs),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The node's id, or the beginning of it
    node: Option<String>,
    /// The node of this agent
    #[arg(long = "self")]
    own: bool,
    /// Count running allocations in the list
    #[arg(long)]
    allocs: bool,
    #[arg(long)]
    verbose: bool,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct DrainArgs {
    /// The node's id, or the beginning of it
    node: Option<String>,
    /// The node of this agent
    #[arg(long = "self")]
    own: bool,
    #[arg(long, conflicts_with = "disable", required_unless_present = "disable")]
    enable: bool,
    #[arg(long)]
    disable: bool,
    /// When what remains is stopped, e.g. 30m
    #[arg(long, value_name = "DURATION")]
    deadline: Option<String>,
    /// Wait for as long as it takes
    #[arg(long, conflicts_with_all = ["deadline", "force"])]
    no_deadline: bool,
    /// Stop everything at once
    #[arg(long)]
    force: bool,
    /// Leave system jobs running
    #[arg(long)]
    ignore_system: bool,
    /// After -disable: keep the node from taking new work
    #[arg(long)]
    keep_ineligible: bool,
    /// Do not wait until the node is empty
    #[arg(long)]
    detach: bool,
    /// Accepted for scripts: nothing is asked
    #[arg(long, short = 'y', hide = true)]
    yes: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct EligibilityArgs {
    /// The node's id, or the beginning of it
    node: Option<String>,
    /// The node of this agent
    #[arg(long = "self")]
    own: bool,
    #[arg(long, conflicts_with = "disable", required_unless_present = "disable")]
    enable: bool,
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                Command::Status(args) => status(args).await,
                Command::Drain(args) => drain(args).await,
                Command::Eligibility(args) => eligibility(args).await,
            }
        })
    }
}

/// The node that is meant: by id, or this agent's own.
async fn chosen(client: &Client, node: Option<&str>, own: bool) -> anyhow::Result<String> {
    match (node, own) {
        (Some(prefix), false) => whole_id(client, Noun::Node, prefix).await,
        (None, true) => {
            let me: Value = client.get("/v1/agent/self").await?;
            let id = text(&me["stats"]["client"], "node_id");
            ensure!(!id.is_empty(), "this agent is no client node; give a node's id");
            Ok(id)
        }
        (Some(_), true) => bail!("give a node's id or -self, not both"),
        (None, false) => bail!("say which node: its id, or -self for this agent's"),
    }
}

async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    if args.node.is_some() || args.own {
        let id = chosen(&client, args.node.as_deref(), args.own).await?;
        one(&client, &id, &args).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let nodes: Value = client.get("/v1/nodes").await?;
    if args.json {
        render::print_json(&nodes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let allocs: Vec<Value> = if args.allocs { client.get("/v1/allocations").await? } else { Vec::new() };
    let rows: Vec<_> = nodes.as_array().into_iter().flatten().map(|n| row(n, &args, &allocs)).collect();
    let mut head = vec!["ID", "Node Pool", "DC", "Name", "Class", "Drain", "Eligibility", "Status"];
    if args.allocs {
        head.push("Running Allocs");
    }
    println!("{}", render::table(&head, &rows));
    Ok(ExitCode::SUCCESS)
}

fn row(n: &Value, args: &StatusArgs, allocs: &[Value]) -> Vec<String> {
    let id = text(n, "ID");
    let class = text(n, "NodeClass");
    let mut row = vec![
        if args.verbose { id.clone() } else { short(&id) },
        text(n, "NodePool"),
        text(n, "Datacenter"),
        text(n, "Name"),
        if class.is_empty() { "<none>".into() } else { class },
        text(n, "Drain"),
        text(n, "SchedulingEligibility"),
        text(n, "Status"),
    ];
    if args.allocs {
        let running = allocs.iter().filter(|a| a["NodeID"] == n["ID"] && a["ClientStatus"] == "running").count();
        row.push(running.to_string());
    }
    row
}

async fn one(client: &Client, id: &str, args: &StatusArgs) -> anyhow::Result<()> {
    let node: Value = client.get(&format!("/v1/node/{id}")).await?;
    if args.json {
        return render::print_json(&node);
    }
    let allocs: Vec<Value> = client.get(&format!("/v1/node/{id}/allocations")).await?;
    let healthy: Vec<_> =
        entries(&node, "Drivers").filter(|(_, d)| d["Healthy"] == true).map(|(n, _)| n.clone()).collect();
    println!(
        "{}",
        render::block(&[
            ("ID", text(&node, "ID")),
            ("Name", text(&node, "Name")),
            ("Node Pool", text(&node, "NodePool")),
            ("Class", text(&node, "NodeClass")),
            ("DC", text(&node, "Datacenter")),
            ("Drain", (!node["DrainStrategy"].is_null()).to_string()),
            ("Eligibility", text(&node, "SchedulingEligibility")),
            ("Status", text(&node, "Status")),
            ("Driver Status", healthy.join(",")),
        ])
    );
    let events: Vec<_> = list(&node, "Events")
        .iter()
        .rev()
        .map(|e| vec![text(e, "Timestamp"), text(e, "Subsystem"), text(e, "Message")])
        .collect();
    render::heading("Node Events");
    println!("{}", render::table(&["Time", "Subsystem", "Message"], &events));
    let live: Vec<_> =
        allocs.iter().filter(|a| matches!(a["ClientStatus"].as_str(), Some("running" | "pending"))).collect();
    render::heading("Allocated Resources");
    println!("{}", given(&node, &live));
    render::heading("Allocations");
    let rows: Vec<_> = live
        .iter()
        .map(|a| {
            vec![
                short(&text(a, "ID")),
                text(a, "JobID"),
                text(a, "TaskGroup"),
                text(a, "DesiredStatus"),
                text(a, "ClientStatus"),
                ago(&a["CreateTime"]),
            ]
        })
        .collect();
    println!("{}", render::table(&["ID", "Job ID", "Task Group", "Desired", "Status", "Created"], &rows));
    if args.verbose {
        render::heading("Attributes");
        for (name, value) in entries(&node, "Attributes") {
            println!("{name} = {}", value.as_str().unwrap_or_default());
        }
    }
    Ok(())
}

fn given(node: &Value, allocs: &[&Value]) -> String {
    let sum = |task: fn(&Value) -> u64| -> u64 {
        allocs.iter().flat_map(|a| entries(&a["AllocatedResources"], "Tasks")).map(|(_, t)| task(t)).sum()
    };
    let cpu = sum(|t| t["Cpu"]["CpuShares"].as_u64().unwrap_or(0));
    let memory = sum(|t| t["Memory"]["MemoryMB"].as_u64().unwrap_or(0));
    let disk: u64 = allocs.iter().filter_map(|a| a["AllocatedResources"]["Shared"]["DiskMB"].as_u64()).sum();
    let total = &node["NodeResources"];
    let row = vec![
        format!("{cpu}/{} MHz", text(&total["Cpu"], "CpuShares")),
        format!("{memory}/{} MiB", text(&total["Memory"], "MemoryMB")),
        format!("{disk}/{} MiB", text(&total["Disk"], "DiskMB")),
        allocs.len().to_string(),
    ];
    render::table(&["CPU", "Memory", "Disk", "Alloc Count"], &[row])
}

async fn eligibility(args: EligibilityArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = chosen(&client, args.node.as_deref(), args.own).await?;
    let word = if args.enable { "eligible" } else { "ineligible" };
    let _: Value =
        client.put(&format!("/v1/node/{id}/eligibility"), &json!({ "NodeID": id, "Eligibility": word })).await?;
    println!("Node \"{id}\" scheduling eligibility set: {word} for scheduling");
    Ok(ExitCode::SUCCESS)
}

/// The deadline in the API's nanoseconds: -1 stops everything at once, 0 waits for ever.
fn deadline(args: &DrainArgs) -> anyhow::Result<i64> {
    if args.force {
        return Ok(-1);
    }
    if args.no_deadline {
        return Ok(0);
    }
    let length = match &args.deadline {
        None => DRAIN_DEADLINE,
        Some(text) => match crate::config::duration::parse(text) {
            Ok(length) => length,
            Err(why) => bail!("-deadline {text:?}: {why}"),
        },
    };
    Ok(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
}

async fn drain(args: DrainArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = chosen(&client, args.node.as_deref(), args.own).await?;
    let body = if args.enable {
        json!({ "NodeID": id, "DrainSpec": { "Deadline": deadline(&args)?, "IgnoreSystemJobs": args.ignore_system } })
    } else {
        json!({ "NodeID": id, "DrainSpec": null, "MarkEligible": !args.keep_ineligible })
    };
    let _: Value = client.put(&format!("/v1/node/{id}/drain"), &body).await?;
    if args.disable {
        println!("Node \"{id}\" drain strategy unset");
        return Ok(ExitCode::SUCCESS);
    }
    println!("Node \"{id}\" drain strategy set");
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    let mut index = 0;
    loop {
        let node = client.watch::<Value>(&format!("/v1/node/{id}"), index, WAIT).await?;
        index = node.index;
        if node.value["DrainStrategy"].is_null() {
            println!("Drain complete for node {id}");
            return Ok(ExitCode::SUCCESS);
        }
        let allocs: Vec<Value> = client.get(&format!("/v1/node/{id}/allocations")).await?;
        let left = allocs.iter().filter(|a| a["ClientStatus"] == "running").count();
        println!("{left} allocations still run");
    }
}
