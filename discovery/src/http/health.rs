//! `health/…`: checks, and services with them.

use axum::response::Response;
use model::{
    Index, State, Topic,
    catalog::{CatalogNode, Instance},
    check::Verdict,
};
use serde_json::{Value, json};

use super::{
    Error,
    catalog::{node_topic, rows, service_topic},
    options::Options,
    reply::{Ctx, filtered},
    wire::{check, node::node, service::node_service},
};

/// An entry of `health/service`: the node, the instance, and the checks of both.
pub(super) fn entry(n: &CatalogNode, i: &Instance) -> Value {
    let checks: Vec<Value> = check::of_node(n).chain(check::of_instance(i)).collect();
    json!({"Node": node(n), "Service": node_service(i), "Checks": checks})
}

pub(super) async fn service(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = service_topic(&ctx)?;
    ctx.read(&options, &topics, |state| {
        let found = rows(state, &options, &name)
            .filter(|(n, i)| !options.passing || n.verdict().max(i.verdict()) == Verdict::Passing)
            .map(|(n, i)| entry(n, i))
            .collect();
        (state.service_index(&name), filtered(&options, found))
    })
    .await
}

pub(super) async fn node_checks(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = node_topic(&ctx)?;
    ctx.read(&options, &topics, |state| {
        let of_node = state.catalog_nodes.get(&name).into_iter().flat_map(|n| check::of_node(n));
        let of_services = state.instances_on(&name).flat_map(|i| check::of_instance(i));
        (state.catalog_node_index(name.as_str()), filtered(&options, of_node.chain(of_services).collect()))
    })
    .await
}

pub(super) async fn service_checks(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = service_topic(&ctx)?;
    ctx.read(&options, &topics, |state| {
        let found = rows(state, &options, &name).flat_map(|(_, i)| check::of_instance(i)).collect();
        (state.service_index(&name), filtered(&options, found))
    })
    .await
}

pub(super) async fn state(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let wanted = match ctx.rest.as_str() {
        "" => return Err(Error::BadRequest("Missing check state".into())),
        "any" => None,
        word => Some(word.parse::<Verdict>().map_err(|_| {
            Error::BadRequest(format!("Invalid check state {word:?}: any, passing, warning or critical"))
        })?),
    };
    // Checks appear with their services, and disappear with them.
    ctx.read(&options, &[Topic::Checks], |state| {
        (state.tables.checks, filtered(&options, in_state(state, &options, wanted)))
    })
    .await
}

fn in_state(state: &State, options: &Options, wanted: Option<Verdict>) -> Vec<Value> {
    let fits = |v: Verdict| wanted.is_none_or(|w| w == v);
    let mut found = Vec::new();
    for n in state.catalog_nodes.values() {
        if !options.node_meta.iter().all(|(k, v)| n.meta.get(k) == Some(v)) {
            continue;
        }
        found.extend(n.checks.values().filter(|c| fits(c.verdict)).map(|c| check::check(&n.name, None, c)));
        for i in state.instances_on(&n.name) {
            found.extend(i.checks.values().filter(|c| fits(c.verdict)).map(|c| check::check(&i.node, Some(i), c)));
        }
    }
    found
}

/// No instance is a mesh proxy.
pub(super) async fn nothing(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = service_topic(&ctx)?;
    ctx.read(&options, &topics, |state| (state.service_index(&name).max(Index(1)), Ok(json!([])))).await
}
