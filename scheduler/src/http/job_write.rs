//! Registering and planning: from a request body to a checked job, and from there to a command or a dry run.

use model::{Command, Index, Job, JobKey, Namespace, State, Trigger, command::Reply as Done};
use serde_json::{Value, json};

use super::{Error, read::Context, reply::Reply, seam, write::written};

/// A submission's source text beyond this is not kept.
const SOURCE_BYTES_MAX: usize = 1 << 20;

/// `PUT /v1/jobs` and `PUT /v1/job/:id`.
pub async fn register(cx: &Context, named: Option<&JobKey>) -> Result<Reply, Error> {
    let body = cx.req.json()?;
    let mut job = job_in(cx, &body, named)?;
    let state = cx.snapshot();
    let mut warnings = checked(&state, &job)?;
    preserve(&state, &mut job, &body)?;
    job.source = source(&body, &mut warnings);
    seam::admit(&state, &job)?;
    let mut eval = cx.eval_of(&job, Trigger::JobRegister);
    if let Some(priority) = body["EvalPriority"].as_u64().filter(|p| *p > 0) {
        eval.priority = u8::try_from(priority)
            .ok()
            .filter(|p| *p <= 100)
            .ok_or_else(|| Error::BadRequest("evaluation priority must be between 1 and 100 inclusively".into()))?;
    }
    let enforce_index = match body["EnforceIndex"].as_bool() {
        Some(true) => Some(Index(body["JobModifyIndex"].as_u64().unwrap_or(0))),
        _ => None,
    };
    let eval_id = eval.id;
    let command = Command::JobRegister { job: Box::new(job), eval: Some(eval), enforce_index, at: cx.req.now };
    let applied = cx.propose(command).await?;
    Ok(written(
        applied.index,
        json!({
            "EvalID": eval_id.to_string(),
            "EvalCreateIndex": applied.index.0,
            "JobModifyIndex": modify_index(&applied.reply, applied.index),
            "Warnings": warning_list(&warnings),
        }),
    ))
}

/// `JobModifyIndex` of a registration's reply.
#[must_use]
pub fn modify_index(reply: &Done, applied: Index) -> u64 {
    match reply {
        Done::Job { modify_index, .. } => modify_index.0,
        _ => applied.0,
    }
}

/// The job inside a request body, read and placed in its namespace. `named` is the id the path carries.
pub fn job_in(cx: &Context, body: &Value, named: Option<&JobKey>) -> Result<Job, Error> {
    let wire = &body["Job"];
    if !wire.is_object() {
        return Err(Error::BadRequest("Job must be specified".into()));
    }
    let mut job = seam::job_from_json(wire)?;
    if named.is_some_and(|key| key.id != job.id) {
        return Err(Error::BadRequest("Job ID does not match".into()));
    }
    if wire["Namespace"].as_str().is_none_or(str::is_empty) {
        job.namespace = cx.req.query.namespaces().one();
    }
    if !job.region.is_empty() && job.region != cx.api.agent.region() {
        return Err(Error::Refused("No path to region".into()));
    }
    Ok(job)
}

/// Everything that is checked before a job may change the state; gives the warnings.
fn checked(state: &State, job: &Job) -> Result<Vec<String>, Error> {
    let warnings = seam::validate(job).map_err(|errors| Error::Refused(error_list(&errors)))?;
    if job.namespace != Namespace::default() {
        return Err(Error::Refused(format!(
            "job {:?} is in nonexistent namespace {:?}; Trine has the namespace \"default\" only",
            job.id.as_str(),
            job.namespace.as_str()
        )));
    }
    if job.periodic.is_some() {
        return Err(Error::NotBuilt("running periodic jobs".into()));
    }
    if job.parameterized.is_some() {
        return Err(Error::NotBuilt("dispatching parameterized jobs".into()));
    }
    if let Some(old) = state.job(&job.key())
        && old.kind != job.kind
        && !old.stop
    {
        return Err(Error::Refused(format!(
            "cannot update job from type {:?} to {:?}; stop and purge the old job first",
            old.kind.as_str(),
            job.kind.as_str()
        )));
    }
    Ok(warnings)
}

/// `PreserveCounts` and `PreserveResources`: groups and tasks that exist keep what they were scaled to.
fn preserve(state: &State, job: &mut Job, body: &Value) -> Result<(), Error> {
    let flag = |name: &str| match &body[name] {
        Value::Null => Ok(false),
        Value::Bool(b) => Ok(*b),
        other => Err(Error::BadRequest(format!("{name} must be true or false, not {other}"))),
    };
    let (counts, resources) = (flag("PreserveCounts")?, flag("PreserveResources")?);
    let Some(old) = state.job(&job.key()).filter(|j| !j.stop) else { return Ok(()) };
    for group in &mut job.groups {
        let Some(was) = old.group(&group.name) else { continue };
        if counts {
            group.count = was.count;
        }
        for task in group.tasks.iter_mut().filter(|_| resources) {
            if let Some(was) = was.task(&task.name) {
                task.resources.clone_from(&was.resources);
            }
        }
    }
    Ok(())
}

fn source(body: &Value, warnings: &mut Vec<String>) -> Option<String> {
    let source = body["Submission"]["Source"].as_str().filter(|s| !s.is_empty())?;
    if source.len() > SOURCE_BYTES_MAX {
        warnings.push(format!(
            "job source size of {} bytes exceeds maximum of {SOURCE_BYTES_MAX} and will be discarded",
            source.len()
        ));
        return None;
    }
    Some(source.to_owned())
}

/// `PUT /v1/job/:id/plan`: nothing is changed.
pub fn plan(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let body = cx.req.json()?;
    let job = job_in(cx, &body, Some(key))?;
    let state = cx.snapshot();
    let warnings = checked(&state, &job)?;
    seam::admit(&state, &job)?;
    let old = state.job(&job.key());
    let mut answer = seam::dry_run(&state, job.clone(), cx.req.now)?;
    answer["Diff"] = match body["Diff"].as_bool() {
        Some(true) => seam::diff(old.map(|j| &**j), &job),
        _ => Value::Null,
    };
    answer["JobModifyIndex"] = json!(old.map_or(0, |j| j.job_modify_index.0));
    answer["NextPeriodicLaunch"] = json!(super::wire::time::ZERO);
    answer["Warnings"] = json!(warning_list(&warnings));
    Ok(written(state.index, answer))
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
