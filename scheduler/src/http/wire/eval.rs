//! Evaluations and placement metrics in Nomad's JSON.

use model::{Eval, eval::EvalStatus, metric::AllocMetric};
use serde_json::{Map, Value, json};

use super::time::rfc3339;

/// An id, or the empty text when there is none.
pub fn id_or_empty(id: Option<impl ToString>) -> String {
    id.map(|i| i.to_string()).unwrap_or_default()
}

#[must_use]
pub fn full(e: &Eval) -> Value {
    let failed: Map<String, Value> = e.failed_groups.iter().map(|(group, m)| (group.to_string(), metric(m))).collect();
    json!({
        "ID": e.id.to_string(),
        "Namespace": e.job.namespace.as_str(),
        "Priority": e.priority,
        "Type": e.kind.as_str(),
        "TriggeredBy": e.trigger.as_str(),
        "JobID": e.job.id.as_str(),
        "JobModifyIndex": 0,
        "NodeID": id_or_empty(e.node),
        "NodeModifyIndex": 0,
        "DeploymentID": id_or_empty(e.deployment),
        "Status": e.status.as_str(),
        "StatusDescription": e.status_description,
        "Wait": 0,
        "WaitUntil": rfc3339(e.wait_until),
        "NextEval": id_or_empty(e.next),
        "PreviousEval": id_or_empty(e.previous),
        "BlockedEval": id_or_empty(e.blocked),
        "RelatedEvals": null,
        "FailedTGAllocs": if failed.is_empty() { Value::Null } else { Value::Object(failed) },
        "PlanAnnotations": null,
        "ClassEligibility": null,
        "EscapedComputedClass": e.status == EvalStatus::Blocked,
        "QuotaLimitReached": "",
        "AnnotatePlan": false,
        "QueuedAllocations": e.queued.iter().map(|(g, n)| (g.to_string(), Value::from(*n))).collect::<Map<_, _>>(),
        "SnapshotIndex": e.snapshot_index.0,
        "CreateIndex": e.create_index.0,
        "ModifyIndex": e.modify_index.0,
        "CreateTime": e.created_at.0,
        "ModifyTime": e.modified_at.0,
    })
}

/// An evaluation with those it is linked to.
#[must_use]
pub fn with_related(e: &Eval, related: Option<Value>) -> Value {
    let mut body = full(e);
    body["RelatedEvals"] = related.unwrap_or(Value::Null);
    body
}

#[must_use]
pub fn count(n: usize) -> Value {
    json!({ "Count": n })
}

/// A related evaluation, as `evaluation/:id?related=true` lists it.
#[must_use]
pub fn related(e: &Eval) -> Value {
    json!({
        "ID": e.id.to_string(),
        "Priority": e.priority,
        "Type": e.kind.as_str(),
        "TriggeredBy": e.trigger.as_str(),
        "Namespace": e.job.namespace.as_str(),
        "JobID": e.job.id.as_str(),
        "NodeID": id_or_empty(e.node),
        "DeploymentID": id_or_empty(e.deployment),
        "Status": e.status.as_str(),
        "StatusDescription": e.status_description,
        "WaitUntil": rfc3339(e.wait_until),
        "NextEval": id_or_empty(e.next),
        "PreviousEval": id_or_empty(e.previous),
        "BlockedEval": id_or_empty(e.blocked),
        "CreateIndex": e.create_index.0,
        "ModifyIndex": e.modify_index.0,
        "CreateTime": e.created_at.0,
        "ModifyTime": e.modified_at.0,
    })
}

/// The record of one placement attempt. `Refusals` is Trine's own: why each node was not taken.
#[must_use]
pub fn metric(m: &AllocMetric) -> Value {
    let scores: Vec<Value> = m
        .scores
        .iter()
        .map(|s| json!({ "NodeID": id_or_empty(s.node), "Scores": s.scores, "NormScore": s.norm }))
        .collect();
    let refusals: Vec<Value> = m
        .refusals
        .iter()
        .map(|r| json!({ "NodeID": r.node.to_string(), "NodeName": r.node_name, "Reason": r.reason }))
        .collect();
    json!({
        "NodesEvaluated": m.nodes_evaluated,
        "NodesFiltered": m.nodes_filtered,
        "NodesInPool": m.nodes_in_pool,
        "NodePool": "default",
        "NodesAvailable": m.nodes_available,
        "ClassFiltered": m.class_filtered,
        "ConstraintFiltered": m.constraint_filtered,
        "NodesExhausted": m.nodes_exhausted,
        "ClassExhausted": m.class_exhausted,
        "DimensionExhausted": m.dimension_exhausted,
        "QuotaExhausted": [],
        "ResourcesExhausted": null,
        "Scores": null,
        "AllocationTime": 0,
        "CoalescedFailures": m.coalesced_failures,
        "ScoreMetaData": scores,
        "Refusals": refusals,
    })
}
