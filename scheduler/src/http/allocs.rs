//! `/v1/allocations` and `/v1/allocation/…`: reads and stop.

use std::collections::BTreeMap;

use model::{
    Alloc, AllocId, Command, Eval, EvalId, JobKind, State, Topic, Trigger, alloc::Transition, service::OnUpdate,
    state::derive,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Error,
    read::{Context, Key, Listing},
    reply::Reply,
    request::Verb,
    services,
    wire::{alloc, answer},
    write::written,
};

pub async fn list(cx: &Context) -> Result<Reply, Error> {
    cx.only(Verb::Get)?;
    let query = &cx.req.query;
    let (listing, spaces) = (Listing::of(query)?, query.namespaces());
    let (resources, tasks) = (query.flag("resources", false)?, query.flag("task_states", true)?);
    let prefix = query.given("prefix").map(str::to_lowercase);
    cx.read(
        &[Topic::Allocs],
        |s| s.tables.allocs,
        |s| {
            let wanted = |a: &Alloc| {
                spaces.has(&a.job.namespace) && prefix.as_ref().is_none_or(|p| a.id.to_string().starts_with(p))
            };
            // With a prefix clients look for one id; without, they page through time.
            let place = |a: &Alloc| Key(if prefix.is_some() { 0 } else { a.create_index.0 }, a.id.to_string());
            let job = |a: &Alloc| s.job_of(a).cloned();
            listing.page(
                s.allocs.values().filter(|a| wanted(a)).map(|a| (place(a), a)),
                |a| alloc::without_job(a, job(a).as_deref()),
                |a| alloc::stub(a, job(a).as_deref(), resources, tasks),
            )
        },
    )
    .await
}

/// The allocation, or the 404 that clients match on.
pub fn found(state: &State, id: AllocId) -> Result<&Alloc, Error> {
    state.allocs.get(&id).map(|a| &**a).ok_or_else(|| Error::NotFound("alloc not found".into()))
}

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let id: AllocId = id.parse().map_err(|_| Error::NotFound("alloc not found".into()))?;
    match (action, cx.req.verb) {
        ("", Verb::Get) => {
            cx.read(
                &[Topic::Alloc(id)],
                |s| s.allocs.get(&id).map_or(s.tables.allocs, |a| a.modify_index),
                |s| found(s, id).map(|a| alloc::full(a, s.job_of(a).map(|j| &**j)).into()),
            )
            .await
        }
        ("stop", Verb::Put) => stop(cx, id).await,
        ("services", Verb::Get) => services::of_alloc(cx, id).await,
        ("checks", Verb::Get) => {
            cx.read(
                &[Topic::Alloc(id)],
                |s| s.allocs.get(&id).map_or(s.tables.allocs, |a| a.modify_index),
                |s| Ok(checks(s, found(s, id)?).into()),
            )
            .await
        }
        ("" | "stop" | "services" | "checks", _) => Err(Error::Method),
        _ => Err(Error::NoRoute),
    }
}

/// Stop one allocation; the scheduler replaces it as its job wants.
async fn stop(cx: &Context, id: AllocId) -> Result<Reply, Error> {
    let query = &cx.req.query;
    let (no_shutdown_delay, reschedule) = (query.flag("no_shutdown_delay", false)?, query.flag("reschedule", false)?);
    let state = cx.snapshot();
    let alloc = found(&state, id)?;
    let (kind, priority) = state.job_of(alloc).map_or((JobKind::Service, 50), |j| (j.kind, j.priority));
    let eval_id = EvalId(Uuid::new_v4());
    let eval = Eval::pending(eval_id, alloc.job.clone(), kind, priority, Trigger::AllocStop, cx.req.now);
    let wish = Transition { migrate: true, reschedule, force_reschedule: false, no_shutdown_delay };
    let command =
        Command::AllocTransitions { transitions: BTreeMap::from([(id, wish)]), evals: vec![eval], at: cx.req.now };
    let applied = cx.propose(command).await?;
    Ok(written(applied.index, answer::alloc_stopped(&eval_id.to_string())))
}

/// Check results by check id. Trine's servers know them, so this needs no call to the client.
fn checks(state: &State, alloc: &Alloc) -> Value {
    let (Some(job), Some(node)) = (state.job_of(alloc), state.node(alloc.node)) else {
        return Value::Object(Map::new());
    };
    let mut all = Map::new();
    for template in derive::templates(job, alloc, node) {
        for (id, spec) in &template.specs {
            let name = template.instance.checks.get(id).map_or(spec.name.as_str(), |c| c.name.as_str());
            let row = alloc::check(&alloc::CheckRow {
                id: id.as_str(),
                name,
                alloc: &alloc.name,
                readiness: spec.on_update == Some(OnUpdate::Ignore),
                service: template.instance.service.as_str(),
                task: template.task.as_ref().map_or("", |t| t.as_str()),
                kind: spec.probe.kind(),
                seen: alloc.checks.get(id),
            });
            all.insert(id.to_string(), row);
        }
    }
    Value::Object(all)
}
