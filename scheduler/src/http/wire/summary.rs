//! A job's list stub, its summary, its scaling status and the UI's status row: all derived from what runs.

use std::collections::BTreeMap;

use model::{Alloc, ClientStatus, Deployment, Desired, GroupName, Job, JobKey, State};
use serde_json::{Map, Value, json};

use super::{alloc::deployment_status, eval::id_or_empty, time::rfc3339};
use crate::diff::JobDiff;

#[derive(Default)]
struct Counts {
    queued: u32,
    complete: u32,
    failed: u32,
    running: u32,
    starting: u32,
    lost: u32,
    unknown: u32,
}

/// Counts per group of the current specification, and of groups that still have allocations.
fn counts(state: &State, job: &Job) -> BTreeMap<GroupName, Counts> {
    let key = job.key();
    let mut groups: BTreeMap<GroupName, Counts> =
        job.groups.iter().map(|g| (g.name.clone(), Counts::default())).collect();
    for a in state.allocs_of_job(&key) {
        let c = groups.entry(a.group.clone()).or_default();
        match a.client {
            ClientStatus::Pending if a.desired == Desired::Run => c.starting += 1,
            ClientStatus::Pending => {}
            ClientStatus::Running => c.running += 1,
            ClientStatus::Complete => c.complete += 1,
            ClientStatus::Failed => c.failed += 1,
            ClientStatus::Lost => c.lost += 1,
            ClientStatus::Unknown => c.unknown += 1,
        }
    }
    // The newest evaluation that was worked on knows what is still to be placed.
    let worked = state.evals_of_job(&key).filter(|e| e.snapshot_index.0 > 0 || !e.queued.is_empty());
    if let Some(eval) = worked.max_by_key(|e| (e.modify_index, e.create_index)) {
        for (group, n) in &eval.queued {
            groups.entry(group.clone()).or_default().queued = *n;
        }
    }
    groups
}

/// `JobSummary`.
#[must_use]
pub fn summary(state: &State, job: &Job) -> Value {
    let groups: Map<String, Value> = counts(state, job)
        .into_iter()
        .map(|(name, c)| {
            let row = json!({
                "Queued": c.queued, "Complete": c.complete, "Failed": c.failed, "Running": c.running,
                "Starting": c.starting, "Lost": c.lost, "Unknown": c.unknown,
            });
            (name.to_string(), row)
        })
        .collect();
    json!({
        "JobID": job.id.as_str(),
        "Namespace": job.namespace.as_str(),
        "Summary": groups,
        "Children": { "Pending": 0, "Running": 0, "Dead": 0 },
        "CreateIndex": job.create_index.0,
        "ModifyIndex": job.modify_index.0,
    })
}

/// What the job list shows.
#[must_use]
pub fn stub(state: &State, job: &Job, with_meta: bool) -> Value {
    let mut stub = json!({
        "ID": job.id.as_str(),
        "ParentID": "",
        "Name": job.name,
        "Namespace": job.namespace.as_str(),
        "Datacenters": job.datacenters,
        "NodePool": job.node_pool,
        "Multiregion": null,
        "Type": job.kind.as_str(),
        "Priority": job.priority,
        "Periodic": job.periodic.is_some(),
        "ParameterizedJob": job.parameterized.is_some(),
        "Stop": job.stop,
        "Status": job.status.as_str(),
        "StatusDescription": "",
        "JobSummary": summary(state, job),
        "Version": job.version,
        "CreateIndex": job.create_index.0,
        "ModifyIndex": job.modify_index.0,
        "JobModifyIndex": job.job_modify_index.0,
        "SubmitTime": job.submit_time.0,
    });
    if with_meta {
        stub["Meta"] = json!(job.meta);
    }
    stub
}

/// `GET …/scale`.
#[must_use]
pub fn scale(state: &State, job: &Job) -> Value {
    let key = job.key();
    let groups: Map<String, Value> = job
        .groups
        .iter()
        .map(|g| {
            let live: Vec<_> = state.allocs_of_job(&key).filter(|a| a.group == g.name && !a.terminal()).collect();
            let row = json!({
                "Desired": g.count,
                "Placed": live.len(),
                "Running": live.iter().filter(|a| a.client == ClientStatus::Running).count(),
                "Healthy": live.iter().filter(|a| a.healthy()).count(),
                "Unhealthy": live.iter().filter(|a| a.unhealthy()).count(),
                "Events": [],
            });
            (g.name.to_string(), row)
        })
        .collect();
    json!({
        "JobID": job.id.as_str(),
        "Namespace": job.namespace.as_str(),
        "JobCreateIndex": job.create_index.0,
        "JobModifyIndex": job.job_modify_index.0,
        "JobStopped": job.stop,
        "TaskGroups": groups,
    })
}

/// `GET …/versions`.
#[must_use]
pub fn versions(versions: Vec<Value>, diffs: Option<Vec<JobDiff>>) -> Value {
    json!({ "Versions": versions, "Diffs": diffs })
}

/// `GET …/submission`: the text a version was submitted as.
#[must_use]
pub fn submission(job: &Job, source: &str) -> Value {
    json!({
        "Source": source,
        "Format": if source.trim_start().starts_with('{') { "json" } else { "hcl2" },
        "VariableFlags": null,
        "Variables": "",
        "Namespace": job.namespace.as_str(),
        "JobID": job.id.as_str(),
        "Version": job.version,
        "JobModifyIndex": job.job_modify_index.0,
    })
}

/// One row of `jobs/statuses`.
#[must_use]
pub fn status(state: &State, job: &Job) -> Value {
    let key = job.key();
    let allocs: Vec<Value> =
        state.allocs_of_job(&key).filter(|a| !a.server_terminal()).map(|a| status_alloc(a)).collect();
    let latest = state.latest_deployment(&key);
    json!({
        "ID": job.id.as_str(),
        "Namespace": job.namespace.as_str(),
        "Name": job.name,
        "Type": job.kind.as_str(),
        "NodePool": job.node_pool,
        "Datacenters": job.datacenters,
        "Priority": job.priority,
        "Version": job.version,
        "SubmitTime": job.submit_time.0,
        "CreateIndex": job.create_index.0,
        "ModifyIndex": watch_index(state, &key, job),
        "Allocs": allocs,
        "GroupCountSum": job.groups.iter().map(|g| u64::from(g.count)).sum::<u64>(),
        "ChildStatuses": null,
        "ParentID": "",
        "LatestDeployment": latest.map(|d| status_deployment(d)),
        "Stop": job.stop,
        "IsPack": false,
        "Status": job.status.as_str(),
    })
}

/// The newest index of a job and of everything its status row shows.
#[must_use]
pub fn watch_index(state: &State, key: &JobKey, job: &Job) -> u64 {
    let allocs = state.allocs_of_job(key).map(|a| a.modify_index.0);
    let deployment = state.latest_deployment(key).map(|d| d.modify_index.0);
    allocs.chain(deployment).chain([job.modify_index.0]).max().unwrap_or(0)
}

/// The newest index of a job and of everything its summary counts: allocations, and what evaluations have queued.
#[must_use]
pub fn summary_index(state: &State, key: &JobKey, job: &Job) -> u64 {
    let evals = state.evals_of_job(key).map(|e| e.modify_index.0).max();
    watch_index(state, key, job).max(evals.unwrap_or(0))
}

fn status_alloc(a: &Alloc) -> Value {
    json!({
        "ID": a.id.to_string(),
        "Group": a.group.as_str(),
        "ClientStatus": a.client.as_str(),
        "NodeID": a.node.to_string(),
        "DeploymentStatus": deployment_status(a),
        "JobVersion": a.job_version,
        "FollowupEvalID": id_or_empty(a.followup_eval),
        "HasPausedTask": false,
    })
}

fn status_deployment(d: &Deployment) -> Value {
    json!({
        "ID": d.id.to_string(),
        "IsActive": d.status.active(),
        "JobVersion": d.job_version,
        "Status": d.status.as_str(),
        "StatusDescription": d.description,
        "AllAutoPromote": d.promotes_itself(),
        "RequiresPromotion": d.status.active() && d.awaits_promotion(),
        "ModifyTime": rfc3339(d.modified_at),
    })
}
