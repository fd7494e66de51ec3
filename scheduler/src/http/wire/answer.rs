//! What writes answer, and the query meta that Go's response structs embed.

use model::Index;
use serde_json::{Value, json};

/// A write's answer with its meta.
#[must_use]
pub fn with_meta(index: Index, mut fields: Value) -> Value {
    fields["Index"] = json!(index.0);
    fields["LastContact"] = json!(0);
    fields["KnownLeader"] = json!(false);
    fields["NextToken"] = json!("");
    fields
}

/// A registration, or anything that made a new job version or an evaluation of the job.
#[must_use]
pub fn registered(eval: &str, at: Index, job_modify_index: u64, warnings: &str) -> Value {
    json!({
        "EvalID": eval, "EvalCreateIndex": at.0, "JobModifyIndex": job_modify_index, "Warnings": warnings,
    })
}

#[must_use]
pub fn deregistered(eval: &str, at: Index, job_modify_index: u64) -> Value {
    json!({
        "EvalID": eval, "EvalCreateIndex": at.0, "JobModifyIndex": job_modify_index, "VolumeEvalID": "",
        "VolumeEvalIndex": 0,
    })
}

#[must_use]
pub fn job_changed(at: Index) -> Value {
    json!({ "JobModifyIndex": at.0 })
}

#[must_use]
pub fn validated(errors: &[String], warnings: &[String]) -> Value {
    json!({
        "DriverConfigValidated": true,
        "ValidationErrors": if errors.is_empty() { Value::Null } else { json!(errors) },
        "Error": if errors.is_empty() { String::new() } else { error_list(errors) },
        "Warnings": warning_list(warnings),
    })
}

/// A node changed; `evals` are those it caused.
#[must_use]
pub fn node_changed(evals: &[String], at: Index, modify_index: Index) -> Value {
    json!({
        "EvalCreateIndex": if evals.is_empty() { 0 } else { at.0 }, "EvalIDs": evals,
        "NodeModifyIndex": modify_index.0,
    })
}

#[must_use]
pub fn alloc_stopped(eval: &str) -> Value {
    json!({ "EvalID": eval })
}

#[must_use]
pub fn deployment_changed(eval: Option<&str>, at: Index, reverted: Option<u64>) -> Value {
    json!({
        "EvalID": eval.unwrap_or(""),
        "EvalCreateIndex": if eval.is_some() { at.0 } else { 0 },
        "DeploymentModifyIndex": at.0,
        "RevertedJobVersion": reverted,
    })
}

/// Several errors as clients print them.
#[must_use]
pub fn error_list(errors: &[String]) -> String {
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    let lines: String = errors.iter().map(|e| format!("\t* {e}\n")).collect();
    format!("{} {noun} occurred:\n{lines}\n", errors.len())
}

/// Several warnings as clients print them; empty when there is none.
#[must_use]
pub fn warning_list(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let noun = if warnings.len() == 1 { "warning" } else { "warnings" };
    let lines: Vec<String> = warnings.iter().map(|w| format!("* {w}")).collect();
    format!("{} {noun}:\n\n{}", warnings.len(), lines.join("\n"))
}
