//! Following an evaluation until there is something to say; its deployment is followed by [`deployment`].
//!
//! Exit codes: 0 healthy (or placed, where there is no deployment), 1 failed, 2 not everything could be placed.

use std::{process::ExitCode, time::Duration};

use serde_json::Value;

use super::{Follow, deployment};
use crate::cli::{
    client::Client,
    render::{self, entries, list, short, text},
};

/// Exit code of a placement failure.
const NOT_PLACED: u8 = 2;
const WAIT: Duration = Duration::from_secs(10);

pub(super) fn say(words: &str) {
    let now = render::now_secs().saturating_mul(1_000_000_000);
    println!("==> {}: {words}", render::utc(now));
}

fn note(words: &str) {
    let now = render::now_secs().saturating_mul(1_000_000_000);
    println!("    {}: {words}", render::utc(now));
}

/// After a write that made an evaluation: follow it, unless told not to.
pub async fn after(client: &Client, follow: &Follow, reply: &Value, done: &str) -> anyhow::Result<ExitCode> {
    let eval = text(reply, "EvalID");
    if eval.is_empty() {
        println!("{done}");
        return Ok(ExitCode::SUCCESS);
    }
    if follow.detach {
        println!("{done}\nEvaluation ID: {eval}");
        return Ok(ExitCode::SUCCESS);
    }
    evaluation(client, &eval, follow.verbose).await
}

pub(super) fn id(whole: &str, verbose: bool) -> String {
    if verbose { whole.to_owned() } else { short(whole) }
}

/// Follow one evaluation to its end, then its deployment if it has one.
pub async fn evaluation(client: &Client, eval_id: &str, verbose: bool) -> anyhow::Result<ExitCode> {
    say(&format!("Monitoring evaluation \"{}\"", id(eval_id, verbose)));
    let mut index = 0;
    let mut last = String::new();
    let eval = loop {
        let found = client.watch::<Value>(&format!("/v1/evaluation/{eval_id}"), index, WAIT).await?;
        let (eval, status) = (found.value.clone(), text(&found.value, "Status"));
        if last.is_empty() {
            note(&format!("Evaluation triggered by job \"{}\"", text(&eval, "JobID")));
        }
        if !last.is_empty() && last != status {
            note(&format!("Evaluation status changed: \"{last}\" -> \"{status}\""));
        }
        if matches!(status.as_str(), "complete" | "failed" | "canceled" | "blocked") {
            break eval;
        }
        last = status;
        index = found.index;
    };
    for alloc in client.get::<Vec<Value>>(&format!("/v1/evaluation/{eval_id}/allocations")).await? {
        if text(&alloc, "EvalID") == eval_id {
            note(&format!(
                "Allocation \"{}\" created: node \"{}\", group \"{}\"",
                id(&text(&alloc, "ID"), verbose),
                id(&text(&alloc, "NodeID"), verbose),
                text(&alloc, "TaskGroup")
            ));
        }
    }
    let placed = finished(&eval, verbose);
    match deployment_of(client, &eval).await? {
        Some(deployment) if placed => deployment::follow(client, &deployment, verbose).await,
        _ if placed => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::from(NOT_PLACED)),
    }
}

/// Say how the evaluation ended; true when everything was placed.
fn finished(eval: &Value, verbose: bool) -> bool {
    let (name, status) = (id(&text(eval, "ID"), verbose), text(eval, "Status"));
    let failed: Vec<_> = entries(eval, "FailedTGAllocs").collect();
    if failed.is_empty() {
        let why = text(eval, "StatusDescription");
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        say(&format!("Evaluation \"{name}\" finished with status \"{status}\"{why}"));
        return status == "complete";
    }
    say(&format!("Evaluation \"{name}\" finished with status \"{status}\" but failed to place all allocations:"));
    for (group, metric) in failed {
        let more = metric["CoalescedFailures"].as_u64().unwrap_or(0);
        println!(
            "    Task Group \"{group}\" (failed to place {} allocation{}):",
            more + 1,
            if more == 0 { "" } else { "s" }
        );
        for line in reasons(metric) {
            println!("      * {line}");
        }
    }
    let blocked = text(eval, "BlockedEval");
    if !blocked.is_empty() {
        println!("    Evaluation \"{}\" waiting for additional capacity to place remainder", id(&blocked, verbose));
    }
    false
}

/// Why a group could not be placed, one line a reason.
pub fn reasons(metric: &Value) -> Vec<String> {
    let count = |field: &str| metric[field].as_u64().unwrap_or(0);
    let nodes = |n: u64| if n == 1 { "1 node".to_owned() } else { format!("{n} nodes") };
    let mut out = Vec::new();
    if count("NodesEvaluated") == 0 {
        out.push("No nodes were eligible for evaluation".to_owned());
        for (dc, n) in entries(metric, "NodesAvailable").filter(|(_, n)| n.as_u64() == Some(0)) {
            out.push(format!("No nodes are available in datacenter \"{dc}\" ({n})"));
        }
    }
    for (what, n) in entries(metric, "ConstraintFiltered") {
        out.push(format!("Constraint \"{what}\": {} excluded by filter", nodes(n.as_u64().unwrap_or(0))));
    }
    if count("NodesExhausted") > 0 {
        out.push(format!("Resources exhausted on {}", nodes(count("NodesExhausted"))));
    }
    for (what, n) in entries(metric, "DimensionExhausted") {
        out.push(format!("Dimension \"{what}\" exhausted on {}", nodes(n.as_u64().unwrap_or(0))));
    }
    for refusal in list(metric, "Refusals") {
        out.push(format!("Node \"{}\": {}", text(refusal, "NodeName"), text(refusal, "Reason")));
    }
    out
}

async fn deployment_of(client: &Client, eval: &Value) -> anyhow::Result<Option<String>> {
    let id = text(eval, "DeploymentID");
    if !id.is_empty() {
        return Ok(Some(id));
    }
    let latest: Value = client.get(&super::path(&text(eval, "JobID"), "/deployment")).await?;
    let same = latest["JobModifyIndex"].as_u64().is_some_and(|i| Some(i) == eval["JobModifyIndex"].as_u64());
    Ok((same || latest["Status"] == "running").then(|| text(&latest, "ID")).filter(|i| !i.is_empty()))
}
