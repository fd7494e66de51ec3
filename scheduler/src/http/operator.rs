//! `/v1/system/*`, `/v1/operator/*` and the namespaces: what an operator asks of the whole cluster.

use serde_json::Value;

use super::{
    Error,
    read::Context,
    reply::{Payload, Reply},
    request::{Verb, decode},
    wire::agent,
};
use crate::leader::gc;

/// Log entries one request may make; each holds thousands of records.
const GC_ENTRIES_MAX: usize = 100;

pub async fn system(cx: &Context, rest: &str) -> Result<Reply, Error> {
    match rest {
        "gc" => {
            cx.only(Verb::Put)?;
            collect_garbage(cx).await
        }
        // Summaries are derived from the allocations each time they are read: they cannot drift.
        "reconcile/summaries" => {
            cx.only(Verb::Put)?;
            Ok(Reply::new(Payload::Empty))
        }
        _ => Err(Error::NoRoute),
    }
}

/// Forget everything that is over, however young, entry by entry.
async fn collect_garbage(cx: &Context) -> Result<Reply, Error> {
    for _ in 0..GC_ENTRIES_MAX {
        let state = cx.snapshot();
        let command = gc::collect(&state, cx.req.now, true);
        if gc::is_empty(&command) {
            break;
        }
        let applied = cx.propose(command).await?;
        tracing::info!(index = applied.index.0, "collected garbage on request");
    }
    Ok(Reply::done(cx.snapshot().index))
}

pub fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    match (rest, cx.req.verb) {
        ("scheduler/configuration", Verb::Get) => Ok(cx.read_now(agent::scheduler_configuration(
            cx.snapshot().index.0,
            cx.api.replica.leadership().borrow().leader.is_some(),
        ))),
        ("scheduler/configuration", Verb::Put) => Err(Error::NotBuilt("changing the scheduler's configuration".into())),
        ("raft/configuration", Verb::Get) => {
            Ok(cx.read_now(agent::raft_configuration(&*cx.api.agent, cx.snapshot().index.0)))
        }
        ("scheduler/configuration" | "raft/configuration", _) => Err(Error::Method),
        _ => match rest.split('/').next().unwrap_or("") {
            family @ ("raft" | "autopilot" | "snapshot" | "keyring" | "license" | "utilization" | "upgrade-check") => {
                Err(Error::NotBuilt(format!("/v1/operator/{family}")))
            }
            _ => Err(Error::NoRoute),
        },
    }
}

/// Only `default` exists.
pub fn namespaces(cx: &Context, head: &str, rest: &str) -> Result<Reply, Error> {
    let default = agent::namespace("default", "Default shared namespace");
    let changing = || Error::NotBuilt("namespaces other than \"default\"".into());
    match (head, rest, cx.req.verb) {
        ("namespaces", "", Verb::Get) => {
            let prefix = cx.req.query.given("prefix").unwrap_or("");
            let found = if "default".starts_with(prefix) { vec![default] } else { Vec::new() };
            Ok(cx.read_now(Value::Array(found)))
        }
        ("namespace", name, Verb::Get) if !name.is_empty() => match decode(name)?.as_str() {
            "default" => Ok(cx.read_now(default)),
            _ => Err(Error::NotFound("namespace not found".into())),
        },
        ("namespaces" | "namespace", _, Verb::Put | Verb::Delete) => Err(changing()),
        ("namespaces" | "namespace", _, Verb::Other) => Err(Error::Method),
        _ => Err(Error::NoRoute),
    }
}
