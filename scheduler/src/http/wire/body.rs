//! Request bodies as clients send them. Unknown fields are ignored, `null` means left out, a wrong type is an error.

use serde::Deserialize;
use serde_json::Value;

use super::time::parse_duration;

/// `PUT /v1/jobs`, `/v1/job/:id`, `/v1/job/:id/plan`, `/v1/validate/job`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Register {
    pub job: Option<Value>,
    pub enforce_index: Option<bool>,
    pub job_modify_index: Option<u64>,
    pub preserve_counts: Option<bool>,
    pub preserve_resources: Option<bool>,
    pub eval_priority: Option<u64>,
    pub submission: Option<Submission>,
    pub diff: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Submission {
    pub source: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parse {
    #[serde(rename = "JobHCL")]
    pub source: Option<String>,
    #[serde(rename = "Variables")]
    pub variables: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Statuses {
    pub jobs: Option<Vec<StatusOf>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatusOf {
    #[serde(rename = "ID")]
    pub id: String,
    pub namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Scale {
    pub count: Option<i64>,
    pub target: Option<Target>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Target {
    pub group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Evaluate {
    pub eval_options: Option<EvalOptions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EvalOptions {
    pub force_reschedule: Option<bool>,
}

/// `PUT …/revert` and `PUT …/stable`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OfVersion {
    #[serde(rename = "JobID")]
    pub job_id: Option<String>,
    pub job_version: Option<u64>,
    pub enforce_prior_version: Option<u64>,
    pub stable: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Drain {
    pub drain_spec: Option<DrainSpec>,
    pub mark_eligible: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrainSpec {
    /// Negative: at once; 0 or absent: no deadline.
    pub deadline: Option<Span>,
    pub ignore_system_jobs: Option<bool>,
}

/// A span of time: nanoseconds as Go's clients write it, or a text such as `1h` or `"-1"` as people do.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Span {
    Nanos(i64),
    Text(String),
}

impl Span {
    /// Nanoseconds; `None` when the text is not a span.
    #[must_use]
    pub fn nanos(&self) -> Option<i64> {
        match self {
            Self::Nanos(n) => Some(*n),
            Self::Text(text) => {
                let span = || i64::try_from(parse_duration(text)?.as_nanos()).ok();
                text.parse().ok().or_else(span)
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Eligibility {
    pub eligibility: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Pause {
    pub pause: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Promote {
    pub all: Option<bool>,
    pub groups: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AllocHealth {
    #[serde(rename = "HealthyAllocationIDs")]
    pub healthy: Option<Vec<String>>,
    #[serde(rename = "UnhealthyAllocationIDs")]
    pub unhealthy: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Search {
    pub prefix: Option<String>,
    pub text: Option<String>,
    pub context: Option<String>,
}
