//! The few calls from the API into the job reader, the validator and the planner, in one place.

use model::{Job, State, Timestamp};
use serde_json::Value;

use super::{Error, wire::job};
use crate::{
    admission,
    diff::{self, JobDiff},
    dry_run::{self, DryRun},
    jobspec::{self, ParseOptions},
    validate,
};

pub fn job_to_json(job: &Job) -> Value {
    job::to_json(job)
}

pub fn job_from_json(wire: &Value) -> Result<Job, Error> {
    job::from_json(wire).map_err(|e| Error::BadRequest(e.to_string()))
}

/// Whether a job document says which namespace it belongs to.
pub fn names_namespace(wire: &Value) -> bool {
    wire["Namespace"].as_str().is_some_and(|n| !n.is_empty())
}

/// Read a job file. Parsing is work for the processor alone, so it leaves the threads that answer requests.
pub async fn parse(source: String, variables: String) -> Result<Job, Error> {
    let mut options = ParseOptions { strict: false, ..ParseOptions::default() };
    if !variables.trim().is_empty() {
        options.variable_files.push(("variables".into(), variables));
    }
    let parsed = tokio::task::spawn_blocking(move || jobspec::parse(&source, &options)).await;
    match parsed {
        Ok(Ok(parsed)) => Ok(parsed.job),
        Ok(Err(e)) => Err(Error::BadRequest(e.to_string())),
        Err(e) => Err(Error::Refused(format!("reading the job file stopped: {e}"))),
    }
}

/// Warnings, or errors.
pub fn validate(job: &Job) -> Result<Vec<String>, Vec<String>> {
    validate::validate(job)
}

/// Whether the cluster as it is can ever run the job.
pub fn admit(state: &State, job: &Job) -> Result<(), Error> {
    admission::check(state, job).map_err(Error::Refused)
}

pub fn diff(old: Option<&Job>, new: &Job) -> JobDiff {
    diff::job_diff(old, new)
}

/// What registering the job would do.
pub fn dry_run(state: &State, job: Job, now: Timestamp) -> Result<DryRun, Error> {
    dry_run::plan(state, job, now).map_err(|e| Error::Propose(e.into()))
}
