//! Registering and planning: from a request body to a checked job, and from there to a command or a dry run.

use model::{Command, Eval, Index, Job, JobKey, Namespace, State, Trigger, command::Reply as Done};
use serde_json::Value;

use super::{
    Error,
    read::Context,
    reply::Reply,
    seam,
    wire::{self, answer, body},
    write::written,
};

/// A submission's source text beyond this is not kept.
const SOURCE_BYTES_MAX: usize = 1 << 20;

/// `PUT /v1/jobs` and `PUT /v1/job/:id`.
pub async fn register(cx: &Context, named: Option<&JobKey>) -> Result<Reply, Error> {
    let body: body::Register = cx.req.body()?;
    let mut job = job_in(cx, body.job.as_ref(), named)?;
    let state = cx.snapshot();
    let mut warnings = checked(&state, &job)?;
    preserve(&state, &mut job, &body);
    job.source = source(body.submission, &mut warnings);
    seam::admit(&state, &job)?;
    let mut eval = cx.eval_of(&job, Trigger::JobRegister);
    set_priority(&mut eval, body.eval_priority)?;
    let enforce_index = match body.enforce_index {
        Some(true) => Some(Index(body.job_modify_index.unwrap_or(0))),
        _ => None,
    };
    let eval_id = eval.id;
    let command = Command::JobRegister { job: Box::new(job), eval: Some(eval), enforce_index, at: cx.req.now };
    let applied = cx.propose(command).await?;
    let modify_index = modify_index(&applied.reply, applied.index);
    let warnings = answer::warning_list(&warnings);
    let fields = answer::registered(&eval_id.to_string(), applied.index, modify_index, &warnings);
    Ok(written(applied.index, fields))
}

/// The priority a client wants its evaluation to have instead of the job's; 0 means none.
pub fn set_priority(eval: &mut Eval, wanted: Option<u64>) -> Result<(), Error> {
    let Some(n) = wanted.filter(|n| *n > 0) else { return Ok(()) };
    let fits = u8::try_from(n).ok().filter(|p| *p <= 100);
    eval.priority =
        fits.ok_or_else(|| Error::BadRequest("evaluation priority must be between 1 and 100 inclusively".into()))?;
    Ok(())
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
pub fn job_in(cx: &Context, wire: Option<&Value>, named: Option<&JobKey>) -> Result<Job, Error> {
    let wire = wire.filter(|w| w.is_object()).ok_or_else(|| Error::BadRequest("Job must be specified".into()))?;
    let mut job = seam::job_from_json(wire)?;
    if named.is_some_and(|key| key.id != job.id) {
        return Err(Error::BadRequest("Job ID does not match".into()));
    }
    if !seam::names_namespace(wire) {
        job.namespace = cx.req.query.namespaces().one();
    }
    if !job.region.is_empty() && job.region != cx.api.agent.region() {
        return Err(Error::Refused("No path to region".into()));
    }
    Ok(job)
}

/// Everything that is checked before a job may change the state; gives the warnings.
fn checked(state: &State, job: &Job) -> Result<Vec<String>, Error> {
    if job.namespace != Namespace::default() {
        return Err(Error::Refused(format!(
            "job {:?} is in nonexistent namespace {:?}; Trine has the namespace \"default\" only",
            job.id.as_str(),
            job.namespace.as_str()
        )));
    }
    if job.periodic.is_some() {
        return Err(Error::NotBuilt("starting periodic jobs (run the job from a timer instead)".into()));
    }
    if job.parameterized.is_some() {
        return Err(Error::NotBuilt(
            "dispatching parameterized jobs (register one job per set of inputs instead)".into(),
        ));
    }
    let warnings = seam::validate(job).map_err(|errors| Error::Refused(answer::error_list(&errors)))?;
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
fn preserve(state: &State, job: &mut Job, body: &body::Register) {
    let (counts, resources) = (body.preserve_counts.unwrap_or(false), body.preserve_resources.unwrap_or(false));
    let Some(old) = state.job(&job.key()).filter(|j| !j.stop) else { return };
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
}

fn source(submission: Option<body::Submission>, warnings: &mut Vec<String>) -> Option<String> {
    let source = submission.and_then(|s| s.source).filter(|s| !s.is_empty())?;
    if source.len() > SOURCE_BYTES_MAX {
        warnings.push(format!(
            "job source size of {} bytes exceeds maximum of {SOURCE_BYTES_MAX} and will be discarded",
            source.len()
        ));
        return None;
    }
    Some(source)
}

/// `PUT /v1/job/:id/plan`: nothing is changed.
pub fn plan(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let body: body::Register = cx.req.body()?;
    let job = job_in(cx, body.job.as_ref(), Some(key))?;
    let state = cx.snapshot();
    let warnings = checked(&state, &job)?;
    seam::admit(&state, &job)?;
    let old = state.job(&job.key());
    let diff = body.diff.unwrap_or(false).then(|| seam::diff(old.map(|j| &**j), &job));
    let dry = seam::dry_run(&state, job, cx.req.now)?;
    Ok(written(state.index, wire::plan::planned(&dry, diff, &answer::warning_list(&warnings))))
}
