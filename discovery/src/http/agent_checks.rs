//! `agent/check…`: the checks of this agent's node, and the verdicts TTL checks are given.

use axum::response::Response;
use model::{
    Command, InstanceId, State,
    catalog::{Check, Instance, Source},
    check::Verdict,
    command::CatalogRegistration,
    service::Probe,
};

use super::{
    Error,
    agent_services::{find, keep_status, node_record, own, own_node},
    options::{self, Options},
    reply::{Ctx, empty, filtered},
    wire::{
        check,
        decode::Fields,
        node::object,
        registration::{self, TEXT_MAX},
    },
};

pub(super) async fn list(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let state = ctx.api.replica.snapshot();
    let node = own_node(&ctx.api);
    // What tells whether the agent lives is the catalog's, not the agent's.
    let of_node = state.catalog_nodes.get(&node).into_iter().flat_map(|n| n.checks.values().map(|c| (None, c)));
    let of_node = of_node.filter(|(_, c)| c.id.as_str() != model::state::NODE_CHECK);
    let of_services = own(&state, &node).flat_map(|i| i.checks.values().map(move |c| (Some(i), c)));
    let rows = of_node.chain(of_services).map(|(owner, c)| check::check(&node, owner, c)).collect();
    let rows = filtered(&options, rows)?;
    ctx.ok(&object(rows.into_iter().map(|c| (c["CheckID"].as_str().unwrap_or_default().to_owned(), c))))
}

pub(super) async fn register(mut ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let body = ctx.call.json_body().await?;
    let node = own_node(&ctx.api);
    let mut new = registration::agent_check(&body)?;
    let state = ctx.api.replica.snapshot();
    if let Some(id) = &new.service
        && find(&state, &node, id.as_str()).is_none()
    {
        return Err(Error::NotFound(format!("ServiceID {:?} does not exist", id.as_str())));
    }
    keep_status(&state, &node, &mut new);
    let registration = CatalogRegistration {
        node: node_record(&ctx.api, &state),
        skip_node_update: true,
        instance: None,
        replace_checks: false,
        checks: vec![(new.service, new.check.clone())],
    };
    drop(state);
    ctx.propose(Command::CatalogRegister(Box::new(registration))).await?;
    ctx.api.local.beat(&new.check.id);
    Ok(empty())
}

fn find_check<'a>(ctx: &Ctx, state: &'a State) -> Result<(Option<&'a Instance>, &'a Check), Error> {
    let node = own_node(&ctx.api);
    let id = ctx.rest.as_str();
    let of_node = state.catalog_nodes.get(&node).and_then(|n| n.checks.get(id)).map(|c| (None, c));
    of_node.or_else(|| state.instances_on(&node).find_map(|i| Some((Some(i.as_ref()), i.checks.get(id)?)))).ok_or_else(
        || Error::NotFound(format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name.")),
    )
}

pub(super) async fn deregister(ctx: Ctx) -> Result<Response, Error> {
    find_check(&ctx, &ctx.api.replica.snapshot())?;
    let check = Some(ctx.rest.as_str().into());
    ctx.propose(Command::CatalogDeregister { node: own_node(&ctx.api), instance: None, check }).await?;
    Ok(empty())
}

pub(super) async fn pass(ctx: Ctx) -> Result<Response, Error> {
    noted(ctx, Verdict::Passing).await
}

pub(super) async fn warn(ctx: Ctx) -> Result<Response, Error> {
    noted(ctx, Verdict::Warning).await
}

pub(super) async fn fail(ctx: Ctx) -> Result<Response, Error> {
    noted(ctx, Verdict::Critical).await
}

async fn noted(ctx: Ctx, verdict: Verdict) -> Result<Response, Error> {
    let note = ctx.call.get("note").unwrap_or_default().to_owned();
    report(ctx, verdict, note).await
}

pub(super) async fn update(mut ctx: Ctx) -> Result<Response, Error> {
    let body = ctx.call.json_body().await?;
    let mut f = Fields::parse(&body)?;
    let status = f.text("Status", TEXT_MAX)?;
    let output = f.text("Output", TEXT_MAX)?;
    f.finish()?;
    let verdict = status.parse().map_err(|_| Error::BadRequest(format!("Invalid check status: '{status}'")))?;
    report(ctx, verdict, output).await
}

/// A TTL check was reported. Only a verdict or output that differs is committed; the clock starts again anyway.
async fn report(ctx: Ctx, verdict: Verdict, mut output: String) -> Result<Response, Error> {
    let state = ctx.api.replica.snapshot();
    let (owner, check) = find_check(&ctx, &state)?;
    if !check.definition.as_ref().is_some_and(|d| matches!(d.probe, Probe::Ttl { .. })) {
        return Err(Error::Internal(format!("CheckID {:?} does not have associated TTL", ctx.rest)));
    }
    if let Some(Source::Alloc(alloc)) = owner.map(|i| &i.source) {
        return Err(Error::Internal(format!("check {:?} belongs to allocation {alloc}", ctx.rest)));
    }
    let end = (0..=crate::check::OUTPUT_MAX.min(output.len())).rev().find(|n| output.is_char_boundary(*n));
    output.truncate(end.unwrap_or(0));
    ctx.api.local.beat(&check.id);
    if check.verdict != verdict || check.output != output {
        let instance: Option<InstanceId> = owner.map(|i| i.id.clone());
        let id = check.id.clone();
        drop(state);
        let command = Command::CheckVerdict { node: own_node(&ctx.api), instance, check: id, verdict, output };
        ctx.propose(command).await?;
    }
    Ok(empty())
}
