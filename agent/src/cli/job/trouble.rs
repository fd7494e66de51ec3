//! What goes wrong in the allocations of a deployment while it is followed: each failure once, in the client's words.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cli::{
    client::Client,
    render::{self, Paint, entries, list, paint, short, text},
};

/// Events that say why an allocation does not become healthy.
const FAILURES: [&str; 5] =
    ["Driver Failure", "Setup Failure", "Failed Validation", "Not Restarting", "Alloc Unhealthy"];

/// Failures that were shown already.
#[derive(Debug, Default)]
pub struct Troubles(BTreeSet<String>);

impl Troubles {
    /// Print what has failed since the last look; true when something was printed.
    pub async fn show(&mut self, client: &Client, deployment: &str) -> anyhow::Result<bool> {
        let allocs: Vec<Value> = client.get(&format!("/v1/deployment/allocations/{deployment}")).await?;
        let mut printed = false;
        for alloc in &allocs {
            for (task, state) in entries(alloc, "TaskStates") {
                for event in list(state, "Events").iter().filter(|e| failure(e)) {
                    let words = format!("task \"{task}\": {}: {}", text(event, "Type"), text(event, "DisplayMessage"));
                    // Retries fail in the same words; once is enough.
                    if self.0.insert(format!("{}{words}", text(alloc, "ID"))) {
                        let id = short(&text(alloc, "ID"));
                        println!("{}", paint(&format!("    Allocation \"{id}\" {words}"), Paint::Bad));
                        println!("      See: trine alloc status {id}");
                        printed = true;
                    }
                }
            }
        }
        Ok(printed)
    }
}

fn failure(event: &Value) -> bool {
    let kind = text(event, "Type");
    let bad_end = kind == "Terminated" && render::text(&event["Details"], "exit_code") != "0";
    bad_end || FAILURES.contains(&kind.as_str())
}
