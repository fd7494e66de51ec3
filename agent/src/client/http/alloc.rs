//! What can be asked of one allocation while it runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use bytes::Bytes;
use model::{TaskName, check::Verdict, service::OnUpdate, state::derive};
use serde::{Deserialize, Serialize};
use serde_json::json as value;

use super::{Error, Handle, here, json};
use crate::{
    client::{clock, follow::Runners},
    driver::Usage,
};

/// Between the two looks that make a percentage.
const SAMPLE: Duration = Duration::from_millis(200);

#[derive(Debug, Default, Deserialize)]
pub struct OfTask {
    #[serde(default)]
    task: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartBody {
    task_name: String,
    all_tasks: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SignalBody {
    task: String,
    signal: String,
}

fn body<T: Default + for<'de> Deserialize<'de>>(bytes: &Bytes) -> Result<T, Error> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes).map_err(|e| Error::bad(format!("failed to decode body: {e}")))
}

pub async fn restart(State(client): State<Handle>, Path(id): Path<String>, bytes: Bytes) -> Result<Response, Error> {
    let wish: RestartBody = body(&bytes)?;
    let alloc = here(&client, &id)?;
    let task = (!wish.task_name.is_empty()).then(|| TaskName::from(wish.task_name.as_str()));
    if task.is_some() && wish.all_tasks {
        return Err(Error::bad("can't specify a task name and AllTasks"));
    }
    client.restart(alloc.id, task.as_ref()).await?;
    Ok(json(&client, &value!({ "Index": client.services.replica.snapshot().index.0 })))
}

pub async fn signal(State(client): State<Handle>, Path(id): Path<String>, bytes: Bytes) -> Result<Response, Error> {
    let wish: SignalBody = body(&bytes)?;
    let alloc = here(&client, &id)?;
    let task = (!wish.task.is_empty()).then(|| TaskName::from(wish.task.as_str()));
    client.signal(alloc.id, task.as_ref(), &wish.signal).await?;
    Ok(json(&client, &value!({ "Index": client.services.replica.snapshot().index.0 })))
}

pub async fn gc(State(client): State<Handle>, Path(id): Path<String>) -> Result<Response, Error> {
    let alloc = here(&client, &id)?;
    let runners: &Arc<Runners> = &client.runners;
    if !alloc.client.terminal() || !runners.over(alloc.id) {
        return Err(Error::bad(format!("allocation {id} still runs: stop it before collecting it")));
    }
    runners.forget(alloc.id);
    runners.clear(alloc.id).await;
    Ok(json(&client, &value!({})))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckResult {
    #[serde(rename = "ID")]
    id: String,
    check: String,
    group: String,
    mode: &'static str,
    output: String,
    service: String,
    task: String,
    status: &'static str,
    status_code: u16,
    timestamp: u64,
}

pub async fn checks(State(client): State<Handle>, Path(id): Path<String>) -> Result<Response, Error> {
    let alloc = here(&client, &id)?;
    let state = client.services.replica.snapshot();
    let (Some(job), Some(node)) = (state.job_of(&alloc), state.node(alloc.node)) else {
        return Err(Error::missing("alloc not found"));
    };
    let mut results: BTreeMap<String, CheckResult> = BTreeMap::new();
    for template in derive::templates(job, &alloc, node) {
        for (check_id, spec) in &template.specs {
            let Some(check) = template.instance.checks.get(check_id) else { continue };
            let known = alloc.checks.get(check_id);
            let result = CheckResult {
                id: check_id.to_string(),
                check: check.name.clone(),
                group: alloc.name.clone(),
                mode: if spec.on_update == Some(OnUpdate::Ignore) { "readiness" } else { "healthiness" },
                output: check.output.clone(),
                service: template.instance.service.to_string(),
                task: template.task.as_ref().map_or_else(String::new, ToString::to_string),
                status: match known.map(|s| s.verdict) {
                    None => "pending",
                    Some(Verdict::Passing) => "success",
                    Some(Verdict::Warning | Verdict::Critical) => "failure",
                },
                status_code: 0,
                timestamp: known.map_or(0, |s| s.at.0 / 1_000_000_000),
            };
            results.insert(check_id.to_string(), result);
        }
    }
    Ok(json(&client, &results))
}

/// Use of one task, from two looks.
struct Measured {
    usage: Usage,
    percent: f64,
}

pub async fn stats(
    State(client): State<Handle>,
    Path(id): Path<String>,
    Query(of): Query<OfTask>,
) -> Result<Response, Error> {
    let alloc = here(&client, &id)?;
    let shared = client.shared(alloc.id)?;
    let mut handles = shared.handles();
    if let Some(task) = of.task.filter(|t| !t.is_empty()) {
        if !alloc.tasks.contains_key(task.as_str()) {
            return Err(Error::missing(format!("unknown task name {task:?}")));
        }
        handles.retain(|name, _| name.as_str() == task);
    }
    let mut measured: BTreeMap<TaskName, Measured> = BTreeMap::new();
    let mut first = BTreeMap::new();
    for (name, handle) in &handles {
        if let Some(driver) = shared.driver_of(name)
            && let Ok(usage) = driver.usage(handle).await
        {
            first.insert(name.clone(), (usage, std::time::Instant::now()));
        }
    }
    tokio::time::sleep(SAMPLE).await;
    for (name, (before, at)) in first {
        let (Some(driver), Some(handle)) = (shared.driver_of(&name), handles.get(&name)) else { continue };
        let Ok(usage) = driver.usage(handle).await else { continue };
        let spent = usage.cpu_ns.saturating_sub(before.cpu_ns) as f64;
        let percent = spent / at.elapsed().as_nanos().max(1) as f64 * 100.0;
        measured.insert(name, Measured { usage, percent });
    }
    let now = clock::now().0;
    let per_core = {
        let state = client.services.replica.snapshot();
        state.node(alloc.node).map_or(0.0, |n| n.resources.total.cpu_mhz as f64 / f64::from(n.resources.cores.max(1)))
    };
    let tasks: serde_json::Map<_, _> = measured
        .iter()
        .map(|(name, m)| {
            (
                name.to_string(),
                value!({ "ResourceUsage": usage([m].into_iter(), per_core), "Timestamp": now, "Pids": null }),
            )
        })
        .collect();
    let whole = usage(measured.values(), per_core);
    Ok(json(&client, &value!({ "ResourceUsage": whole, "Tasks": tasks, "Timestamp": now })))
}

fn usage<'a>(all: impl Iterator<Item = &'a Measured>, mhz_per_core: f64) -> serde_json::Value {
    let (mut memory, mut rss, mut percent) = (0, 0, 0.0);
    for m in all {
        memory += m.usage.memory_bytes;
        rss += m.usage.rss_bytes;
        percent += m.percent;
    }
    value!({
        "MemoryStats": {
            "RSS": rss, "Usage": memory, "Cache": 0, "Swap": 0, "MaxUsage": 0, "KernelUsage": 0, "KernelMaxUsage": 0,
            "Measured": ["RSS", "Usage"],
        },
        "CpuStats": {
            "Percent": percent, "TotalTicks": percent / 100.0 * mhz_per_core, "SystemMode": 0.0, "UserMode": 0.0,
            "ThrottledPeriods": 0, "ThrottledTime": 0, "Measured": ["Percent", "TotalTicks"],
        },
        "DeviceStats": [],
    })
}
