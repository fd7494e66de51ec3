//! Deployments in Nomad's JSON.

use model::{Deployment, deployment::GroupRollout};
use serde_json::{Map, Value, json};

use super::time::{nanos, rfc3339};

#[must_use]
pub fn full(d: &Deployment) -> Value {
    let groups: Map<String, Value> = d.groups.iter().map(|(name, g)| (name.to_string(), group(g))).collect();
    json!({
        "ID": d.id.to_string(),
        "Namespace": d.job.namespace.as_str(),
        "JobID": d.job.id.as_str(),
        "JobVersion": d.job_version,
        "JobModifyIndex": d.job_modify_index.0,
        "JobSpecModifyIndex": d.job_modify_index.0,
        "JobCreateIndex": d.job_create_index.0,
        "IsMultiregion": false,
        "TaskGroups": groups,
        "Status": d.status.as_str(),
        "StatusDescription": d.description,
        "EvalPriority": d.priority,
        "CreateIndex": d.create_index.0,
        "ModifyIndex": d.modify_index.0,
        "CreateTime": d.created_at.0,
        "ModifyTime": d.modified_at.0,
    })
}

fn group(g: &GroupRollout) -> Value {
    json!({
        "AutoRevert": g.auto_revert,
        "AutoPromote": g.auto_promote,
        "ProgressDeadline": nanos(g.progress_deadline),
        "RequireProgressBy": rfc3339(g.require_progress_by),
        "Promoted": g.promoted,
        "PlacedCanaries": g.placed_canaries.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "DesiredCanaries": g.desired_canaries,
        "DesiredTotal": g.desired_total,
        "PlacedAllocs": g.placed,
        "HealthyAllocs": g.healthy,
        "UnhealthyAllocs": g.unhealthy,
    })
}
