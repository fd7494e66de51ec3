//! Changes to a registered job: stop, scale, evaluate, revert, mark stable.

use std::collections::BTreeMap;

use model::{ClientStatus, Command, Group, Job, JobKey, State, Trigger, alloc::Transition};

use super::{
    Error,
    job::found,
    job_write::{modify_index, set_priority},
    read::Context,
    reply::Reply,
    seam,
    wire::{answer, body},
    write::written,
};

/// Allocations one group may be scaled to.
const COUNT_MAX: u32 = 50_000;

/// `DELETE /v1/job/:id`.
pub async fn deregister(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let query = &cx.req.query;
    let purge = query.flag("purge", false)?;
    query.flag("global", false)?;
    let state = cx.snapshot();
    let job = found(&state, key)?;
    let mut transitions = BTreeMap::new();
    if query.flag("no_shutdown_delay", false)? {
        let wish = Transition { no_shutdown_delay: true, ..Transition::default() };
        transitions.extend(state.allocs_of_job(key).filter(|a| !a.terminal()).map(|a| (a.id, wish)));
    }
    if !transitions.is_empty() {
        cx.propose(Command::AllocTransitions { transitions, evals: Vec::new(), at: cx.req.now }).await?;
    }
    let mut eval = cx.eval_of(job, Trigger::JobDeregister);
    set_priority(&mut eval, query.number("eval_priority")?)?;
    let eval_id = eval.id;
    let command = Command::JobDeregister { job: key.clone(), purge, eval: Some(eval), at: cx.req.now };
    let applied = cx.propose(command).await?;
    let modify_index = modify_index(&applied.reply, applied.index);
    Ok(written(applied.index, answer::deregistered(&eval_id.to_string(), applied.index, modify_index)))
}

/// `PUT /v1/job/:id/scale`.
pub async fn scale(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let body: body::Scale = cx.req.body()?;
    let state = cx.snapshot();
    let job = found(&state, key)?;
    let name = body.target.and_then(|t| t.group).filter(|g| !g.is_empty());
    let name = name.ok_or_else(|| bad("missing task group name for scaling action".into()))?;
    let group = job
        .group(&name.as_str().into())
        .ok_or_else(|| bad(format!("task group {name:?} specified for scaling does not exist in job")))?;
    let Some(asked) = body.count else {
        return Err(Error::NotBuilt("recording a scaling event without a count".into()));
    };
    if asked < 0 {
        return Err(bad("scaling action count can't be negative".into()));
    }
    let count = u32::try_from(asked)
        .ok()
        .filter(|n| *n <= COUNT_MAX)
        .ok_or_else(|| bad(format!("count {asked} is more than the {COUNT_MAX} allocations a group may have")))?;
    scalable(&state, job, group, count)?;
    let mut wanted = Job::clone(job);
    if let Some(g) = wanted.groups.iter_mut().find(|g| g.name == group.name) {
        g.count = count;
    }
    seam::admit(&state, &wanted)?;
    let eval = cx.eval_of(job, Trigger::JobScaling);
    let eval_id = eval.id;
    let command =
        Command::JobScale { job: key.clone(), group: group.name.clone(), count, eval: Some(eval), at: cx.req.now };
    let applied = cx.propose(command).await?;
    Ok(registered(&applied, &eval_id.to_string()))
}

fn bad(text: String) -> Error {
    Error::BadRequest(text)
}

/// Whether a group may be scaled to this count now.
fn scalable(state: &State, job: &Job, group: &Group, count: u32) -> Result<(), Error> {
    if job.kind.per_node() {
        return Err(bad(format!("cannot scale jobs of type {:?}", job.kind.as_str())));
    }
    if job.stop {
        return Err(bad("cannot scale a stopped job; run it again first".into()));
    }
    if let Some(limits) = &group.scaling {
        if count < limits.min {
            return Err(bad(format!("group count was less than scaling policy minimum: {count} < {}", limits.min)));
        }
        if let Some(max) = limits.max.filter(|max| count > *max) {
            return Err(bad(format!("group count was greater than scaling policy maximum: {count} > {max}")));
        }
    }
    let latest = state.latest_deployment(&job.key());
    if latest.is_some_and(|d| d.status.active() && d.job_create_index == job.create_index) {
        return Err(bad("job scaling blocked due to active deployment".into()));
    }
    Ok(())
}

fn registered(applied: &model::Applied, eval: &str) -> Reply {
    let modify_index = modify_index(&applied.reply, applied.index);
    written(applied.index, answer::registered(eval, applied.index, modify_index, ""))
}

/// `PUT /v1/job/:id/evaluate`; the body may be empty.
pub async fn evaluate(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let body: body::Evaluate = cx.req.body_or_default()?;
    let state = cx.snapshot();
    let job = found(&state, key)?;
    let eval = cx.eval_of(job, Trigger::JobRegister);
    let eval_id = eval.id.to_string();
    let command = if body.eval_options.and_then(|o| o.force_reschedule).unwrap_or(false) {
        let wish = Transition { force_reschedule: true, ..Transition::default() };
        let failed = state.allocs_of_job(key).filter(|a| a.client == ClientStatus::Failed && a.next.is_none());
        let transitions = failed.map(|a| (a.id, wish)).collect();
        Command::AllocTransitions { transitions, evals: vec![eval], at: cx.req.now }
    } else {
        Command::Evals { evals: vec![eval], at: cx.req.now }
    };
    let applied = cx.propose(command).await?;
    Ok(written(applied.index, answer::registered(&eval_id, applied.index, job.job_modify_index.0, "")))
}

fn version_in(body: &body::OfVersion) -> Result<u64, Error> {
    body.job_version.ok_or_else(|| Error::BadRequest("JobVersion must be a number".into()))
}

/// `PUT /v1/job/:id/revert`: the old specification becomes a new version.
pub async fn revert(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let body: body::OfVersion = cx.req.body()?;
    same_job(&body, key)?;
    let version = version_in(&body)?;
    let state = cx.snapshot();
    let current = found(&state, key)?;
    if let Some(enforced) = body.enforce_prior_version
        && enforced != current.version
    {
        return Err(Error::Refused(format!(
            "Current job has version {}; enforcing version {enforced}",
            current.version
        )));
    }
    if version == current.version {
        return Err(Error::Refused(format!("can't revert to current version {version}")));
    }
    let old = state.job_version(key, version).ok_or_else(|| {
        Error::NotFound(format!(
            "job {:?} in namespace {:?} at version {version} not found",
            key.id.as_str(),
            key.namespace.as_str()
        ))
    })?;
    seam::admit(&state, old)?;
    let eval = cx.eval_of(old, Trigger::JobRegister);
    let eval_id = eval.id.to_string();
    let command = Command::JobRegister {
        job: Box::new(Job::clone(old)),
        eval: Some(eval),
        // Nobody may slip a newer version in between looking and committing.
        enforce_index: Some(current.job_modify_index),
        at: cx.req.now,
    };
    let applied = cx.propose(command).await?;
    Ok(registered(&applied, &eval_id))
}

/// `PUT /v1/job/:id/stable`.
pub async fn stable(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let body: body::OfVersion = cx.req.body()?;
    same_job(&body, key)?;
    let version = version_in(&body)?;
    let stable = body.stable.ok_or_else(|| Error::BadRequest("Stable must be true or false".into()))?;
    let applied = cx.propose(Command::JobStability { job: key.clone(), version, stable }).await?;
    Ok(written(applied.index, answer::job_changed(applied.index)))
}

fn same_job(body: &body::OfVersion, key: &JobKey) -> Result<(), Error> {
    match body.job_id.as_deref() {
        None | Some("") => Err(Error::BadRequest("JobID must be specified".into())),
        Some(id) if id != key.id.as_str() => Err(Error::BadRequest("Job ID does not match".into())),
        Some(_) => Ok(()),
    }
}
