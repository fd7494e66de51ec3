//! `/v1/deployments` and `/v1/deployment/…`: the verb stands before the id.

use std::sync::Arc;

use model::{
    AllocId, Command, Deployment, DeploymentId, DeploymentStatus, Eval, GroupName, State, Topic, Trigger,
    deployment::description,
};
use serde_json::Value;

use super::{
    Error,
    read::{Context, Key, Listing, newest},
    reply::Reply,
    request::Verb,
    wire::{alloc, answer, body, deployment},
    write::written,
};
use crate::leader::deployments as watcher;

pub async fn list(cx: &Context) -> Result<Reply, Error> {
    cx.only(Verb::Get)?;
    let query = &cx.req.query;
    let (listing, spaces) = (Listing::of(query)?, query.namespaces());
    let prefix = query.given("prefix").map(str::to_lowercase);
    cx.read(
        &[Topic::Deployments],
        |s| s.tables.deployments,
        |s| {
            let wanted = |d: &Deployment| {
                spaces.has(&d.job.namespace) && prefix.as_ref().is_none_or(|p| d.id.to_string().starts_with(p))
            };
            let place = |d: &Deployment| Key(if prefix.is_some() { 0 } else { d.create_index.0 }, d.id.to_string());
            let all = s.deployments.values().filter(|d| wanted(d)).map(|d| (place(d), d));
            listing.page(all, |d| deployment::full(d), |d| deployment::full(d))
        },
    )
    .await
}

fn found(state: &State, id: DeploymentId) -> Result<&Arc<Deployment>, Error> {
    state.deployments.get(&id).ok_or_else(|| Error::NotFound("deployment not found".into()))
}

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    let (action, id) = rest.split_once('/').unwrap_or(("", rest));
    let id: DeploymentId = id.parse().map_err(|_| Error::NotFound("deployment not found".into()))?;
    match (action, cx.req.verb) {
        ("", Verb::Get) => {
            cx.read(
                &[Topic::Deployment(id)],
                |s| s.deployments.get(&id).map_or(s.tables.deployments, |d| d.modify_index),
                |s| Ok(deployment::full(found(s, id)?).into()),
            )
            .await
        }
        ("allocations", Verb::Get) => allocations(cx, id).await,
        ("fail", Verb::Put) => fail(cx, id).await,
        ("pause", Verb::Put) => pause(cx, id).await,
        ("promote", Verb::Put) => promote(cx, id).await,
        ("allocation-health", Verb::Put) => health(cx, id).await,
        ("unblock", Verb::Put) => Err(Error::NotBuilt("unblocking multiregion deployments".into())),
        ("" | "allocations" | "fail" | "pause" | "promote" | "allocation-health" | "unblock", _) => Err(Error::Method),
        _ => Err(Error::NoRoute),
    }
}

async fn allocations(cx: &Context, id: DeploymentId) -> Result<Reply, Error> {
    let members = |s: &State| {
        let job = s.deployments.get(&id).map(|d| d.job.clone());
        let allocs = job.into_iter().flat_map(|key| s.allocs_of_job(&key).cloned().collect::<Vec<_>>());
        allocs.filter(|a| a.deployment == Some(id)).collect::<Vec<_>>()
    };
    cx.read(
        &[Topic::Allocs],
        |s| newest(members(s).iter().map(|a| a.modify_index), s.tables.allocs),
        |s| {
            let all = members(s);
            let stubs = all.iter().map(|a| alloc::stub(a, s.job_of(a).map(|j| &**j), false, true));
            Ok(Value::Array(stubs.collect()).into())
        },
    )
    .await
}

fn eval_for(cx: &Context, state: &State, d: &Deployment) -> Result<Eval, Error> {
    let job = state.job(&d.job).ok_or_else(|| Error::NotFound("job not found".into()))?;
    let mut eval = cx.eval_of(job, Trigger::DeploymentWatcher);
    eval.deployment = Some(d.id);
    Ok(eval)
}

fn changed(applied: &model::Applied, eval: Option<&str>, reverted: Option<u64>) -> Reply {
    written(applied.index, answer::deployment_changed(eval, applied.index, reverted))
}

async fn fail(cx: &Context, id: DeploymentId) -> Result<Reply, Error> {
    let state = cx.snapshot();
    let d = found(&state, id)?;
    if !d.status.active() {
        return Err(Error::Refused("can't fail terminal deployment".into()));
    }
    let job = state.job(&d.job).ok_or_else(|| Error::NotFound("job not found".into()))?;
    let eval = eval_for(cx, &state, d)?;
    let eval_id = eval.id.to_string();
    let command = watcher::fail(&state, d, job, description::FAILED_BY_USER, eval, cx.req.now);
    let reverted = match &command {
        Command::DeploymentStatus { revert: Some(job), .. } => Some(job.version),
        _ => None,
    };
    let applied = cx.propose(command).await?;
    Ok(changed(&applied, Some(&eval_id), reverted))
}

async fn pause(cx: &Context, id: DeploymentId) -> Result<Reply, Error> {
    let body: body::Pause = cx.req.body()?;
    let pause = body.pause.ok_or_else(|| Error::BadRequest("Pause must be true or false".into()))?;
    let state = cx.snapshot();
    let d = found(&state, id)?;
    if !d.status.active() {
        let verb = if pause { "pause" } else { "resume" };
        return Err(Error::Refused(format!("can't {verb} terminal deployment")));
    }
    let (status, words) = match (pause, d.awaits_promotion()) {
        (true, _) => (DeploymentStatus::Paused, description::PAUSED),
        (false, true) if d.promotes_itself() => (DeploymentStatus::Running, description::AUTO_PROMOTION),
        (false, true) => (DeploymentStatus::Running, description::NEEDS_PROMOTION),
        (false, false) => (DeploymentStatus::Running, description::RUNNING),
    };
    // A paused deployment needs no look at its job; a resumed one does.
    let eval = if pause { None } else { Some(eval_for(cx, &state, d)?) };
    let eval_id = eval.as_ref().map(|e| e.id.to_string());
    let description = words.to_owned();
    let command = Command::DeploymentStatus { id, status, description, revert: None, eval, at: cx.req.now };
    let applied = cx.propose(command).await?;
    Ok(changed(&applied, eval_id.as_deref(), None))
}

async fn promote(cx: &Context, id: DeploymentId) -> Result<Reply, Error> {
    let body: body::Promote = cx.req.body_or_default()?;
    let all = body.all.unwrap_or(false);
    let groups: Vec<GroupName> = body.groups.unwrap_or_default().into_iter().map(GroupName::from).collect();
    if !all && groups.is_empty() {
        return Err(Error::BadRequest("either All must be true or Groups must name the groups to promote".into()));
    }
    let state = cx.snapshot();
    let d = found(&state, id)?;
    if !d.status.active() {
        return Err(Error::Refused("can't promote terminal deployment".into()));
    }
    if let Some(unknown) = groups.iter().find(|g| !d.groups.contains_key(*g)) {
        return Err(Error::BadRequest(format!("deployment has no task group {:?}", unknown.as_str())));
    }
    let eval = eval_for(cx, &state, d)?;
    let eval_id = eval.id.to_string();
    let groups = if all { Vec::new() } else { groups };
    let applied = cx.propose(Command::DeploymentPromote { id, groups, eval, at: cx.req.now }).await?;
    Ok(changed(&applied, Some(&eval_id), None))
}

async fn health(cx: &Context, id: DeploymentId) -> Result<Reply, Error> {
    let body: body::AllocHealth = cx.req.body()?;
    let ids = |list: Option<Vec<String>>| -> Result<Vec<AllocId>, Error> {
        let one =
            |text: &String| text.parse().map_err(|_| Error::BadRequest(format!("{text:?} is not an allocation id")));
        list.unwrap_or_default().iter().map(one).collect()
    };
    let (healthy, unhealthy) = (ids(body.healthy)?, ids(body.unhealthy)?);
    if healthy.is_empty() && unhealthy.is_empty() {
        return Err(Error::BadRequest("must specify at least one healthy/unhealthy allocation ID".into()));
    }
    let state = cx.snapshot();
    let d = found(&state, id)?;
    if !d.status.active() {
        return Err(Error::Refused("can't set health of allocations for a terminal deployment".into()));
    }
    let eval = eval_for(cx, &state, d)?;
    let eval_id = eval.id.to_string();
    let command = Command::DeploymentHealth { id, healthy, unhealthy, eval: Some(eval), at: cx.req.now };
    let applied = cx.propose(command).await?;
    Ok(changed(&applied, Some(&eval_id), None))
}
