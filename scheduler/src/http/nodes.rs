//! `/v1/nodes` and `/v1/node/…`: reads, drain, eligibility, evaluate, purge, pools.

use std::{collections::BTreeSet, time::Duration};

use model::{Command, Eligibility, JobKey, Node, NodeId, State, Topic, Trigger, node::Drain};
use serde_json::Value;

use super::{
    Error,
    read::{Context, Key, Listing, newest},
    reply::Reply,
    request::Verb,
    wire::{agent, alloc, answer, body, node},
    write::written,
};

/// The built-in pools; more cannot be made.
const POOLS: [(&str, &str); 2] =
    [("all", "Node pool with all nodes in the cluster."), ("default", "Default node pool.")];

pub async fn list(cx: &Context) -> Result<Reply, Error> {
    cx.only(Verb::Get)?;
    let query = &cx.req.query;
    let listing = Listing::of(query)?;
    let (os, resources) = (query.flag("os", false)?, query.flag("resources", false)?);
    let prefix = query.given("prefix").unwrap_or("").to_lowercase();
    cx.read(
        &[Topic::Nodes],
        |s| s.tables.nodes,
        |s| {
            let nodes = s.nodes.values().filter(|n| n.id.to_string().starts_with(&prefix));
            listing.page(
                nodes.map(|n| (Key(0, n.id.to_string()), n)),
                |n| node::full(n, false),
                |n| node::stub(n, os, resources),
            )
        },
    )
    .await
}

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    if rest == "pools" || rest.starts_with("pool/") {
        return pools(cx, rest).await;
    }
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let missing = || Error::NotFound("node not found".into());
    let id: NodeId = id.parse().map_err(|_| missing())?;
    match (action, cx.req.verb) {
        ("", Verb::Get) => {
            cx.read(
                &[Topic::Node(id)],
                |s| s.node(id).map_or(s.tables.nodes, |n| n.modify_index),
                |s| Ok(node::full(s.node(id).ok_or_else(missing)?, false).into()),
            )
            .await
        }
        ("allocations", Verb::Get) => allocations(cx, id).await,
        ("drain", Verb::Put) => drain(cx, id).await,
        ("eligibility", Verb::Put) => eligibility(cx, id).await,
        ("evaluate", Verb::Put) => evaluate(cx, id).await,
        ("purge", Verb::Put) => changed(cx, id, Command::NodePurge { node: id, at: cx.req.now }).await,
        ("" | "allocations" | "drain" | "eligibility" | "evaluate" | "purge", _) => Err(Error::Method),
        _ => Err(Error::NoRoute),
    }
}

async fn allocations(cx: &Context, id: NodeId) -> Result<Reply, Error> {
    cx.read(
        &[Topic::NodeAllocs(id)],
        |s| newest(s.allocs_on_node(id).map(|a| a.modify_index), s.tables.allocs),
        |s| {
            let all = s.allocs_on_node(id).map(|a| alloc::full(a, s.job_of(a).map(|j| &**j)));
            Ok(Value::Array(all.collect()).into())
        },
    )
    .await
}

/// Commit a change of a node and answer with the evaluations it made.
async fn changed(cx: &Context, id: NodeId, command: Command) -> Result<Reply, Error> {
    if cx.snapshot().node(id).is_none() {
        return Err(Error::NotFound("node not found".into()));
    }
    let applied = cx.propose(command).await?;
    let evals = cx.evals_made_at(applied.index);
    Ok(written(applied.index, answer::node_changed(&evals, applied.index, applied.index)))
}

async fn drain(cx: &Context, id: NodeId) -> Result<Reply, Error> {
    let body: body::Drain = cx.req.body()?;
    let spec = body.drain_spec.map(|spec| drain_spec(cx, &spec)).transpose()?;
    let mark_eligible = body.mark_eligible.unwrap_or(false);
    changed(cx, id, Command::NodeDrain { node: id, drain: spec, mark_eligible, at: cx.req.now }).await
}

/// On the wire a deadline of -1 means now and 0 means never; in between it is nanoseconds.
fn drain_spec(cx: &Context, spec: &body::DrainSpec) -> Result<Drain, Error> {
    let deadline = match &spec.deadline {
        None => 0,
        Some(span) => span
            .nanos()
            .ok_or_else(|| Error::BadRequest("Deadline must be nanoseconds or a text such as \"1h\"".into()))?,
    };
    let deadline = match deadline {
        0 => None,
        n if n < 0 => Some(Duration::ZERO),
        n => Some(Duration::from_nanos(n.unsigned_abs())),
    };
    Ok(Drain {
        deadline,
        ignore_system_jobs: spec.ignore_system_jobs.unwrap_or(false),
        started_at: cx.req.now,
        force_at: deadline.map(|d| cx.req.now + d),
    })
}

async fn eligibility(cx: &Context, id: NodeId) -> Result<Reply, Error> {
    let body: body::Eligibility = cx.req.body()?;
    let eligibility = match body.eligibility.as_deref() {
        Some("eligible") => Eligibility::Eligible,
        Some("ineligible") => Eligibility::Ineligible,
        other => {
            return Err(Error::BadRequest(format!(
                "invalid scheduling eligibility {:?}: want eligible or ineligible",
                other.unwrap_or("")
            )));
        }
    };
    changed(cx, id, Command::NodeEligibility { node: id, eligibility, at: cx.req.now }).await
}

/// Look again at every job the node runs, and at every job that runs on all nodes.
async fn evaluate(cx: &Context, id: NodeId) -> Result<Reply, Error> {
    let state = cx.snapshot();
    let node = state.node(id).ok_or_else(|| Error::NotFound("node not found".into()))?;
    let mut keys: BTreeSet<JobKey> =
        state.allocs_on_node(id).filter(|a| !a.terminal()).map(|a| a.job.clone()).collect();
    keys.extend(state.jobs.values().filter(|j| j.kind.per_node() && !j.stop).map(|j| j.key()));
    let jobs = keys.iter().filter_map(|k| state.job(k));
    let evals: Vec<_> = jobs
        .map(|job| {
            let mut eval = cx.eval_of(job, Trigger::NodeUpdate);
            eval.node = Some(id);
            eval
        })
        .collect();
    let ids: Vec<String> = evals.iter().map(|e| e.id.to_string()).collect();
    if evals.is_empty() {
        return Ok(written(state.index, answer::node_changed(&ids, state.index, node.modify_index)));
    }
    let applied = cx.propose(Command::Evals { evals, at: cx.req.now }).await?;
    Ok(written(applied.index, answer::node_changed(&ids, applied.index, node.modify_index)))
}

async fn pools(cx: &Context, rest: &str) -> Result<Reply, Error> {
    if cx.req.verb != Verb::Get {
        return Err(Error::NotBuilt("changing node pools".into()));
    }
    let mut parts = rest.split('/').skip(1);
    let (name, list) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let pool = |(name, description): &(&str, &str)| agent::node_pool(name, description);
    if name.is_empty() {
        return Ok(cx.read_now(POOLS.iter().map(pool).collect()));
    }
    let known = POOLS.iter().find(|(n, _)| *n == name);
    let known = known.ok_or_else(|| Error::NotFound("node pool not found".into()))?;
    let inside = |n: &Node| name == "all" || n.pool == name;
    match list {
        "" => Ok(cx.read_now(pool(known))),
        "nodes" => {
            let stubs =
                |s: &State| s.nodes.values().filter(|n| inside(n)).map(|n| node::stub(n, false, false)).collect();
            cx.read(&[Topic::Nodes], |s| s.tables.nodes, |s| Ok(Value::Array(stubs(s)).into())).await
        }
        "jobs" => {
            let spaces = cx.req.query.namespaces();
            let stubs = |s: &State| {
                let jobs = s.jobs.values().filter(|j| spaces.has(&j.namespace) && j.node_pool == name);
                jobs.map(|j| super::wire::summary::stub(s, j, false)).collect()
            };
            cx.read(&[Topic::Jobs], |s| s.tables.jobs, |s| Ok(Value::Array(stubs(s)).into())).await
        }
        _ => Err(Error::NoRoute),
    }
}
