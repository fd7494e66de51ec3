//! Allocations in Nomad's JSON: the full object, the list stub, task states.

use model::{
    Alloc, Job,
    alloc::{CheckState, RescheduleEvent, TaskEvent, TaskState},
    check::Verdict,
    job::Group,
    resource::PortMapping,
};
use serde_json::{Map, Value, json};

use super::{
    eval::{id_or_empty, metric},
    job,
    time::{nanos, rfc3339},
};

/// What an allocation list shows.
#[must_use]
pub fn stub(a: &Alloc, job: Option<&Job>, with_resources: bool, with_tasks: bool) -> Value {
    let mut stub = common(a, job);
    if with_resources {
        stub["AllocatedResources"] = resources(a, job);
    }
    if !with_tasks {
        stub["TaskStates"] = Value::Null;
    }
    stub
}

/// The whole allocation, with the job version it runs.
#[must_use]
pub fn full(a: &Alloc, job: Option<&Job>) -> Value {
    let mut full = without_job(a, job);
    full["Job"] = job.map_or(Value::Null, job::to_json);
    full
}

/// The whole allocation but for its job: what filters see, and event payloads carry.
#[must_use]
pub fn without_job(a: &Alloc, job: Option<&Job>) -> Value {
    let mut full = common(a, job);
    let total = a.resources.total();
    let networks = networks(a.resources.ports.iter().collect(), job.and_then(|j| j.group(&a.group)));
    let task_resources: Map<String, Value> = a
        .resources
        .tasks
        .iter()
        .map(|(name, t)| {
            let given = json!({
                "CPU": t.cpu_mhz, "Cores": t.cores, "MemoryMB": t.memory_mb, "MemoryMaxMB": t.memory_max_mb,
                "DiskMB": 0, "IOPS": 0, "Networks": null, "Devices": null,
            });
            (name.to_string(), given)
        })
        .collect();
    let more = json!({
        "Resources": {
            "CPU": total.cpu_mhz, "Cores": 0, "MemoryMB": total.memory_mb, "MemoryMaxMB": 0, "DiskMB": total.disk_mb,
            "IOPS": 0, "Networks": networks, "Devices": null,
        },
        "TaskResources": task_resources,
        "SharedResources": { "CPU": 0, "MemoryMB": 0, "DiskMB": a.resources.disk_mb, "Networks": networks },
        "AllocatedResources": resources(a, job),
        "Metrics": metric(&a.metric),
        "DeploymentID": id_or_empty(a.deployment),
        "PreviousAllocation": id_or_empty(a.previous),
        "NetworkStatus": null,
        "AllocModifyIndex": a.alloc_modify_index.0,
        "AllocStates": null,
        "SignedIdentities": null,
    });
    if let (Value::Object(into), Value::Object(more)) = (&mut full, more) {
        into.extend(more);
    }
    full
}

fn common(a: &Alloc, job: Option<&Job>) -> Value {
    let tasks: Map<String, Value> = a.tasks.iter().map(|(name, t)| (name.to_string(), task_state(t))).collect();
    let yes = |wish: bool| if wish { Value::Bool(true) } else { Value::Null };
    let transition = json!({
        "Migrate": yes(a.transition.migrate),
        "Reschedule": yes(a.transition.reschedule),
        "ForceReschedule": yes(a.transition.force_reschedule),
        "NoShutdownDelay": yes(a.transition.no_shutdown_delay),
    });
    json!({
        "ID": a.id.to_string(),
        "EvalID": a.eval.to_string(),
        "Name": a.name,
        "Namespace": a.job.namespace.as_str(),
        "NodeID": a.node.to_string(),
        "NodeName": a.node_name,
        "JobID": a.job.id.as_str(),
        "JobType": job.map_or("", |j| j.kind.as_str()),
        "JobVersion": a.job_version,
        "TaskGroup": a.group.as_str(),
        "DesiredStatus": a.desired.as_str(),
        "DesiredDescription": a.desired_description,
        "DesiredTransition": transition,
        "ClientStatus": a.client.as_str(),
        "ClientDescription": a.client_description,
        "TaskStates": tasks,
        "DeploymentStatus": deployment_status(a),
        "FollowupEvalID": id_or_empty(a.followup_eval),
        "NextAllocation": id_or_empty(a.next),
        "RescheduleTracker": tracker(&a.reschedules),
        "PreemptedAllocations": null,
        "PreemptedByAllocation": "",
        "CreateIndex": a.create_index.0,
        "ModifyIndex": a.modify_index.0,
        "CreateTime": a.created_at.0,
        "ModifyTime": a.modified_at.0,
    })
}

/// `null` outside deployments, else the verdict (itself `null` until there is one).
#[must_use]
pub fn deployment_status(a: &Alloc) -> Value {
    if a.deployment.is_none() && a.health.is_none() {
        return Value::Null;
    }
    json!({
        "Healthy": a.health.map(|h| h.healthy),
        "Timestamp": rfc3339(a.health.map(|h| h.at).unwrap_or_default()),
        "Canary": a.canary,
        "ModifyIndex": a.health.map_or(0, |h| h.modify_index.0),
    })
}

fn tracker(events: &[RescheduleEvent]) -> Value {
    if events.is_empty() {
        return Value::Null;
    }
    let events: Vec<Value> = events
        .iter()
        .map(|e| {
            json!({
                "RescheduleTime": e.at.0, "PrevAllocID": e.previous_alloc.to_string(),
                "PrevNodeID": e.previous_node.to_string(), "Delay": nanos(e.delay),
            })
        })
        .collect();
    json!({ "Events": events, "LastReschedule": "ok" })
}

fn task_state(t: &TaskState) -> Value {
    json!({
        "State": t.phase.as_str(),
        "Failed": t.failed,
        "Restarts": t.restarts,
        "LastRestart": rfc3339(t.last_restart),
        "StartedAt": rfc3339(t.started_at),
        "FinishedAt": rfc3339(t.finished_at),
        "Events": t.events.iter().map(task_event).collect::<Vec<_>>(),
        "TaskHandle": null,
    })
}

/// An event with the fields older clients read beside `Details`.
fn task_event(e: &TaskEvent) -> Value {
    let number = |key: &str| e.details.get(key).and_then(|v| v.parse::<i64>().ok()).unwrap_or(0);
    let text = |key: &str| e.details.get(key).cloned().unwrap_or_default();
    json!({
        "Type": e.kind,
        "Time": e.at.0,
        "DisplayMessage": e.message,
        "Message": e.message,
        "Details": e.details,
        "FailsTask": e.details.get("fails_task").is_some_and(|v| v == "true"),
        "RestartReason": text("restart_reason"),
        "SetupError": text("setup_error"),
        "DriverError": text("driver_error"),
        "DriverMessage": text("driver_message"),
        "ExitCode": number("exit_code"),
        "Signal": number("signal"),
        "KillReason": text("kill_reason"),
        "KillError": text("kill_error"),
        "KillTimeout": number("kill_timeout"),
        "StartDelay": number("start_delay"),
        "ValidationError": text("validation_error"),
        "DownloadError": "",
        "DiskLimit": 0,
        "DiskSize": 0,
        "FailedSibling": text("failed_sibling"),
        "VaultError": "",
        "TaskSignalReason": text("task_signal_reason"),
        "TaskSignal": text("task_signal"),
        "GenericSource": "",
    })
}

/// One check of an allocation, with what was last seen of it.
pub struct CheckRow<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub alloc: &'a str,
    /// Its verdict does not count for deployments.
    pub readiness: bool,
    pub service: &'a str,
    pub task: &'a str,
    pub kind: &'a str,
    pub seen: Option<&'a CheckState>,
}

/// A row of `allocation/:id/checks`.
#[must_use]
pub fn check(row: &CheckRow<'_>) -> Value {
    let status = match row.seen.map(|s| s.verdict) {
        None => "pending",
        Some(Verdict::Critical) => "failure",
        Some(Verdict::Passing | Verdict::Warning) => "success",
    };
    json!({
        "ID": row.id,
        "Check": row.name,
        "Group": row.alloc,
        "Mode": if row.readiness { "readiness" } else { "healthiness" },
        "Output": row.seen.map_or("", |s| s.output.as_str()),
        "Service": row.service,
        "Task": row.task,
        "Type": row.kind,
        "Status": status,
        "StatusCode": 0,
        "Timestamp": row.seen.map_or(0, |s| s.at.0 / 1_000_000_000),
    })
}

fn resources(a: &Alloc, job: Option<&Job>) -> Value {
    let group = job.and_then(|j| j.group(&a.group));
    let tasks: Map<String, Value> = a
        .resources
        .tasks
        .iter()
        .map(|(name, t)| {
            let own = a.resources.ports.iter().filter(|p| p.task.as_ref() == Some(name)).collect();
            let given = json!({
                "Cpu": { "CpuShares": t.cpu_mhz, "ReservedCores": null },
                "Memory": { "MemoryMB": t.memory_mb, "MemoryMaxMB": t.memory_max_mb },
                "Networks": networks(own, group),
                "Devices": null,
            });
            (name.to_string(), given)
        })
        .collect();
    let shared: Vec<&PortMapping> = a.resources.ports.iter().filter(|p| p.task.is_none()).collect();
    let ports: Vec<Value> = shared
        .iter()
        .map(|p| json!({ "Label": p.label, "Value": p.value, "To": p.to, "HostIP": p.host_ip, "IgnoreCollision": false }))
        .collect();
    json!({
        "Tasks": tasks,
        "TaskLifecycles": {},
        "Shared": { "DiskMB": a.resources.disk_mb, "Networks": networks(shared, group), "Ports": ports },
    })
}

/// The legacy network view of some ports: one network, static ports apart from dynamic ones.
fn networks(ports: Vec<&PortMapping>, group: Option<&Group>) -> Value {
    let Some(first) = ports.first() else { return Value::Null };
    let is_static = |p: &PortMapping| {
        let networks = group
            .into_iter()
            .flat_map(|g| g.networks.iter().chain(g.tasks.iter().filter_map(|t| t.resources.network.as_ref())));
        networks.flat_map(|n| &n.ports).any(|r| r.label == p.label && r.fixed == Some(p.value))
    };
    let wire = |p: &&PortMapping| json!({ "Label": p.label, "Value": p.value, "To": p.to, "HostNetwork": "default" });
    let (fixed, dynamic): (Vec<&PortMapping>, Vec<&PortMapping>) = ports.iter().partition(|p| is_static(p));
    let list = |ports: Vec<&PortMapping>| match ports.len() {
        0 => Value::Null,
        _ => Value::Array(ports.iter().map(wire).collect()),
    };
    json!([{
        "Mode": "host", "Device": "", "CIDR": "", "IP": first.host_ip, "Hostname": "", "MBits": 0, "DNS": null,
        "ReservedPorts": list(fixed), "DynamicPorts": list(dynamic),
    }])
}
