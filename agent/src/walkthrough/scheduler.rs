//! The scheduler's API as a user of job files needs it: submit, wait until it runs, promote, and why it does not.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Reason, files::File, missing};
use crate::cli::client::{self, Client, encode};

/// How long anything may take. Pulling an image is the slowest of all.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one look at the API waits for a change.
const LOOK: Duration = Duration::from_secs(2);

/// What registering a job answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registered {
    #[serde(rename = "JobModifyIndex")]
    pub modify_index: u64,
}

/// An allocation, as far as the walkthrough looks.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alloc {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "JobVersion")]
    pub version: u64,
    #[serde(rename = "DesiredStatus")]
    desired: String,
    #[serde(rename = "ClientStatus")]
    client: String,
    #[serde(rename = "AllocatedResources", default)]
    resources: Value,
    #[serde(rename = "TaskStates", default)]
    tasks: Value,
}

impl Alloc {
    fn runs(&self) -> bool {
        self.desired == "run" && self.client == "running"
    }

    /// `NOMAD_ADDR_http`: where the instance is reached.
    pub fn address(&self) -> Option<String> {
        let ports = self.resources["Shared"]["Ports"].as_array()?;
        let port = ports.iter().find(|p| p["Label"] == "http")?;
        Some(format!("{}:{}", port["HostIP"].as_str()?, port["Value"].as_u64()?))
    }

    /// The last thing that happened to a task that does not run.
    fn trouble(&self) -> Option<String> {
        let tasks = self.tasks.as_object()?;
        let events = tasks.values().filter_map(|t| t["Events"].as_array()?.last());
        let texts: Vec<_> = events
            .filter_map(|e| {
                Some(format!("{}: {}", e["Type"].as_str()?, e["DisplayMessage"].as_str().unwrap_or_default()))
            })
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// A deployment, as far as the walkthrough looks.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Deployment {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Status")]
    pub status: String,
    #[serde(rename = "StatusDescription")]
    description: String,
    #[serde(rename = "JobSpecModifyIndex")]
    spec_index: u64,
    #[serde(rename = "TaskGroups", default)]
    groups: Value,
}

impl Deployment {
    /// Every canary wanted is placed and healthy.
    fn canaries_are_healthy(&self) -> bool {
        self.groups.as_object().is_some_and(|groups| {
            groups.values().all(|g| {
                let wanted = g["DesiredCanaries"].as_u64().unwrap_or(0);
                wanted > 0 && g["HealthyAllocs"].as_u64().unwrap_or(0) >= wanted
            })
        })
    }
}

/// Submit a job file: the server parses it, then registers what it parsed.
pub(super) async fn submit(api: &Client, file: &File) -> Result<Registered, client::Error> {
    let job: Value = api.put("/v1/jobs/parse", &json!({ "JobHCL": file.text, "Canonicalize": true })).await?;
    let submission = json!({ "Source": file.text, "Format": "hcl2" });
    api.put("/v1/jobs", &json!({ "Job": job, "Submission": submission })).await
}

/// Wait until `ready` finds what it looks for in the answers of `path`; the API wakes us when they change.
async fn wait_for<T: serde::de::DeserializeOwned, R>(
    api: &Client,
    path: &str,
    mut ready: impl FnMut(T) -> Result<Option<R>, Reason>,
) -> Result<Option<R>, Reason> {
    let deadline = Instant::now() + PATIENCE;
    let mut index = 0;
    while Instant::now() < deadline {
        let seen = api.watch::<T>(path, index, LOOK).await?;
        if let Some(result) = ready(seen.value)? {
            return Ok(Some(result));
        }
        index = seen.index.max(1);
    }
    Ok(None)
}

/// Wait until exactly `count` allocations of the newest version run, each with its address.
pub(super) async fn running(
    api: &Client,
    job: &str,
    count: usize,
    submitted: &Registered,
) -> Result<Vec<Alloc>, Reason> {
    let version = version_of(api, job, submitted).await?;
    let path = format!("/v1/job/{}/allocations?resources=true", encode(job));
    let found = wait_for(api, &path, |all: Vec<Alloc>| {
        let running: Vec<_> = all.into_iter().filter(Alloc::runs).collect();
        let settled = running.len() == count && running.iter().all(|a| a.version == version);
        Ok(settled.then_some(running))
    })
    .await?;
    match found {
        Some(all) => with_addresses(api, all).await,
        None => missing(format!(
            "{count} instances of {job} do not run after {} s{}",
            PATIENCE.as_secs(),
            why(api, job).await
        )),
    }
}

/// The version a registration made.
async fn version_of(api: &Client, job: &str, submitted: &Registered) -> Result<u64, Reason> {
    let stored: Value = api.get(&format!("/v1/job/{}", encode(job))).await?;
    match (stored["JobModifyIndex"].as_u64(), stored["Version"].as_u64()) {
        (Some(index), Some(version)) if index >= submitted.modify_index => Ok(version),
        other => {
            missing(format!("{job} was registered at index {}, but the API shows {other:?}", submitted.modify_index))
        }
    }
}

/// Lists may leave resources out; the allocation itself has them.
async fn with_addresses(api: &Client, all: Vec<Alloc>) -> Result<Vec<Alloc>, Reason> {
    let mut out = Vec::with_capacity(all.len());
    for alloc in all {
        out.push(if alloc.address().is_some() {
            alloc
        } else {
            api.get(&format!("/v1/allocation/{}", alloc.id)).await?
        });
    }
    Ok(out)
}

/// Wait until the deployment of a registration has come as far as `done` wants.
async fn deployment(
    api: &Client,
    job: &str,
    submitted: &Registered,
    goal: &str,
    done: impl Fn(&Deployment) -> bool,
) -> Result<Deployment, Reason> {
    let path = format!("/v1/job/{}/deployment", encode(job));
    let found =
        wait_for(api, &path, |d: Option<Deployment>| match d.filter(|d| d.spec_index >= submitted.modify_index) {
            Some(d) if done(&d) => Ok(Some(d)),
            Some(d) if d.status == "failed" || d.status == "cancelled" => {
                missing(format!("deployment {}: {}", d.status, d.description))
            }
            _ => Ok(None),
        })
        .await;
    match found {
        Ok(Some(d)) => Ok(d),
        Ok(None) => missing(format!("{goal} was not reached after {} s{}", PATIENCE.as_secs(), why(api, job).await)),
        Err(Reason::Evidence(text)) => missing(format!("{text}{}", why(api, job).await)),
        Err(e) => Err(e),
    }
}

/// Wait until the deployment of a registration is successful.
pub(super) async fn deployed(api: &Client, job: &str, submitted: &Registered) -> Result<Deployment, Reason> {
    deployment(api, job, submitted, "a successful deployment", |d| d.status == "successful").await
}

/// Wait until the canaries of a registration are healthy and wait for promotion.
pub(super) async fn canary(api: &Client, job: &str, submitted: &Registered) -> Result<Deployment, Reason> {
    deployment(api, job, submitted, "a healthy canary", Deployment::canaries_are_healthy).await
}

/// Promote all canaries.
pub(super) async fn promote(api: &Client, deployment: &Deployment) -> Result<(), Reason> {
    let body = json!({ "DeploymentID": deployment.id, "All": true });
    let _: Value = api.put(&format!("/v1/deployment/promote/{}", deployment.id), &body).await?;
    Ok(())
}

/// Why a job does not run, in the API's words; empty when it says nothing.
async fn why(api: &Client, job: &str) -> String {
    let mut reasons = Vec::new();
    let allocs: Vec<Alloc> = api.get(&format!("/v1/job/{}/allocations", encode(job))).await.unwrap_or_default();
    for alloc in allocs.iter().filter(|a| !a.runs() && a.desired == "run") {
        if let Some(text) = alloc.trouble() {
            reasons.push(format!("allocation {}: {text}", &alloc.id[..8.min(alloc.id.len())]));
        }
    }
    let evals: Vec<Value> = api.get(&format!("/v1/job/{}/evaluations", encode(job))).await.unwrap_or_default();
    let blocked = evals.iter().find_map(|e| e["FailedTGAllocs"].as_object().filter(|f| !f.is_empty()));
    if let Some(groups) = blocked {
        for (group, metric) in groups {
            reasons.push(format!("group {group:?} has no place: {metric}"));
        }
    }
    reasons.truncate(5);
    if reasons.is_empty() { String::new() } else { format!(":\n  {}", reasons.join("\n  ")) }
}

/// Fail early, and in plain words, when the driver of the job files cannot work on any node.
pub(super) async fn driver_works(api: &Client, driver: &str) -> Result<(), Reason> {
    let path = "/v1/nodes";
    let found = wait_for(api, path, |nodes: Vec<Value>| {
        let Some(node) = nodes.iter().find(|n| n["Status"] == "ready") else { return Ok(None) };
        let info = &node["Drivers"][driver];
        if info["Healthy"] == true {
            return Ok(Some(()));
        }
        let said = info["HealthDescription"].as_str().unwrap_or("not detected");
        missing(format!("the driver {driver} does not work here: {said}"))
    })
    .await?;
    found.map_or_else(|| missing("the agent's node does not become ready"), Ok)
}
