//! `trine job plan`: the difference a job file would make, and whether it could be placed.
//!
//! Exit codes: 0 no allocation would change, 1 some would, 255 the plan could not be made.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Follow, monitor, source::Source};
use crate::cli::render::{self, Paint, entries, list, paint, text};

const CHANGES: u8 = 1;
const ERROR: u8 = 255;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    follow: Follow,
    /// Leave the difference out
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true, num_args = 0..=1, default_missing_value = "true")]
    diff: bool,
    /// Print the API's answer as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match plan(&args).await {
        Ok(code) => Ok(code),
        Err(e) => {
            eprintln!("Error: {e:#}");
            Ok(ExitCode::from(ERROR))
        }
    }
}

async fn plan(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.source.load()?;
    let client = args.follow.connection.scheduler()?;
    let id = loaded.job.id.as_str().to_owned();
    let reply: Value =
        client.put(&super::path(&id, "/plan"), &json!({ "Job": loaded.json(), "Diff": args.diff })).await?;
    if args.json {
        render::print_json(&reply)?;
    } else {
        show(&reply, args.diff);
    }
    let updates: Vec<_> = entries(&reply["Annotations"], "DesiredTGUpdates").collect();
    let changed = updates.iter().any(|(_, u)| {
        u.as_object()
            .is_some_and(|o| o.iter().any(|(k, n)| k != "Ignore" && k != "InPlaceUpdate" && n.as_u64() != Some(0)))
    });
    Ok(if changed { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}

fn show(reply: &Value, diff: bool) {
    if diff && !reply["Diff"].is_null() {
        job_diff(reply);
        println!();
    }
    println!("{}", paint("Scheduler dry-run:", Paint::Bold));
    let failed: Vec<_> = entries(reply, "FailedTGAllocs").collect();
    if failed.is_empty() {
        println!("{}", paint("- All tasks successfully allocated.", Paint::Good));
    }
    for (group, metric) in failed {
        println!(
            "{}",
            paint(&format!("- WARNING: Failed to place all allocations of group \"{group}\":"), Paint::Warn)
        );
        for reason in monitor::reasons(metric) {
            println!("    * {reason}");
        }
    }
    let warnings = text(reply, "Warnings");
    if !warnings.is_empty() {
        println!("\n{}\n{warnings}", paint("Job Warnings:", Paint::Warn));
    }
    let index = text(reply, "JobModifyIndex");
    println!(
        "\nJob Modify Index: {index}\nTo submit the job only if it is unchanged until then:\n\ntrine job run -check-index {index} FILE"
    );
}

fn job_diff(reply: &Value) {
    let diff = &reply["Diff"];
    println!("{} Job: \"{}\"", sign(&text(diff, "Type")), text(diff, "ID"));
    fields_and_objects(diff, 1);
    for group in list(diff, "TaskGroups") {
        let name = text(group, "Name");
        println!(
            "{} Task Group: \"{name}\"{}",
            sign(&text(group, "Type")),
            updates(&reply["Annotations"]["DesiredTGUpdates"][&name])
        );
        fields_and_objects(group, 1);
        for task in list(group, "Tasks") {
            println!("  {} Task: \"{}\"{}", sign(&text(task, "Type")), text(task, "Name"), annotations(task));
            fields_and_objects(task, 2);
        }
    }
}

/// `(1 create, 4 ignore)`.
fn updates(u: &Value) -> String {
    let words = [
        ("Place", "create"),
        ("Canary", "canary"),
        ("DestructiveUpdate", "create/destroy update"),
        ("InPlaceUpdate", "in-place update"),
        ("Migrate", "migrate"),
        ("Stop", "destroy"),
        ("Ignore", "ignore"),
    ];
    let parts: Vec<_> = words
        .iter()
        .filter_map(|(field, word)| u[*field].as_u64().filter(|n| *n > 0).map(|n| format!("{n} {word}")))
        .collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn annotations(v: &Value) -> String {
    let words: Vec<_> = list(v, "Annotations").iter().filter_map(Value::as_str).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn sign(kind: &str) -> String {
    match kind {
        "Added" => paint("+", Paint::Good),
        "Deleted" => paint("-", Paint::Bad),
        "Edited" => paint("+/-", Paint::Warn),
        _ => " ".into(),
    }
}

fn fields_and_objects(v: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    for f in list(v, "Fields").iter().filter(|f| f["Type"] != "None") {
        let (old, new) = (text(f, "Old"), text(f, "New"));
        let change = match text(f, "Type").as_str() {
            "Added" => format!("{new:?}"),
            "Deleted" => format!("{old:?}"),
            _ => format!("{old:?} => {new:?}"),
        };
        println!("{pad}{} {}: {change}{}", sign(&text(f, "Type")), text(f, "Name"), annotations(f));
    }
    for o in list(v, "Objects").iter().filter(|o| o["Type"] != "None") {
        println!("{pad}{} {} {{", sign(&text(o, "Type")), text(o, "Name"));
        fields_and_objects(o, depth + 1);
        println!("{pad}  }}");
    }
}
