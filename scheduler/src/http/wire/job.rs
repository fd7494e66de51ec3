//! Jobs in the API's JSON form, by the tables of `spec`.
//!
//! Unknown fields are ignored, as the clients of this API expect; a field of the wrong type is an error with its path.

mod read;
mod write;

use model::Job;
use serde_json::Value;

use crate::spec::{Place, decode, encode};

/// A job document that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct WireError {
    /// `TaskGroups[0].Tasks[0].Driver`; empty for the document itself.
    pub path: String,
    pub message: String,
}

impl From<crate::spec::Error> for WireError {
    fn from(e: crate::spec::Error) -> Self {
        let path = if let Place::Path(p) = e.place { p } else { String::new() };
        Self { path, message: e.message }
    }
}

/// The job as the API shows it.
#[must_use]
pub fn to_json(job: &Job) -> Value {
    write::job(&encode::job(job))
}

/// Read a job as API clients send it; what is left out gets its default.
///
/// # Errors
/// The path of the first field that cannot be meant, and why.
pub fn from_json(json: &Value) -> Result<Job, WireError> {
    Ok(decode::job(read::job(json)?)?)
}

#[cfg(test)]
mod tests;
