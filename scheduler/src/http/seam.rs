//! The few calls from the API into the job reader, the validator and the planner, in one place.

use model::{Job, State, Timestamp};
use serde_json::Value;

use super::{Error, wire::job};
use crate::jobspec::{self, ParseOptions};

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
pub fn validate(_job: &Job) -> Result<Vec<String>, Vec<String>> {
    Ok(Vec::new())
}

pub fn admit(_state: &State, _job: &Job) -> Result<(), Error> {
    Ok(())
}

pub fn diff(_old: Option<&Job>, _new: &Job) -> Value {
    Value::Null
}

pub fn dry_run(_state: &State, _job: Job, _now: Timestamp) -> Result<Value, Error> {
    Err(Error::NotBuilt("planning".into()))
}
