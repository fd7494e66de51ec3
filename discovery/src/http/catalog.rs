//! `catalog/…`: nodes and services as they were registered.

use std::{collections::BTreeMap, sync::Arc};

use axum::response::Response;
use model::{
    Command, Index, NodeName, State, Topic,
    catalog::{CatalogNode, Instance},
    id::ServiceName,
};
use serde_json::{Value, json};

use super::{
    Error,
    options::{self, Options},
    reply::{Ctx, Seen, filtered},
    wire::{
        node::{node, object},
        registration,
        service::{catalog_service, node_service},
    },
};
use crate::catalog;

pub(super) async fn datacenters(ctx: Ctx) -> Result<Response, Error> {
    ctx.ok(&[&ctx.api.datacenter])
}

pub(super) async fn register(mut ctx: Ctx) -> Result<Response, Error> {
    let body = ctx.call.json_body().await?;
    let registration = registration::catalog(&body, &ctx.api.datacenter)?;
    ctx.propose(Command::CatalogRegister(Box::new(registration))).await?;
    ctx.ok(&true)
}

pub(super) async fn deregister(mut ctx: Ctx) -> Result<Response, Error> {
    let body = ctx.call.json_body().await?;
    let gone = registration::deregistration(&body, &ctx.api.datacenter)?;
    // The stored spelling, whatever the caller's.
    let state = ctx.api.replica.snapshot();
    let node = catalog::node(&state, &gone.node).map_or_else(|| gone.node.as_str().into(), |n| n.name.clone());
    let command =
        Command::CatalogDeregister { node, instance: gone.service.map(Into::into), check: gone.check.map(Into::into) };
    ctx.propose(command).await?;
    ctx.ok(&true)
}

fn meta_fits(options: &Options, n: &CatalogNode) -> bool {
    options.node_meta.iter().all(|(k, v)| n.meta.get(k).is_some_and(|have| have == v))
}

/// The instances of a service with their nodes, in the order clients pair rows by: node, then id.
pub(super) fn rows<'a>(
    state: &'a State,
    options: &'a Options,
    name: &str,
) -> impl Iterator<Item = (&'a Arc<CatalogNode>, &'a Arc<Instance>)> {
    catalog::service(state, name)
        .into_iter()
        .flat_map(|entry| entry.instances.values())
        .filter(|i| options.tags.iter().all(|t| catalog::has_tag(i, t)))
        .filter_map(|i| Some((state.catalog_nodes.get(&i.node)?, i)))
        .filter(|(n, _)| meta_fits(options, n))
}

pub(super) async fn nodes(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    ctx.read(&options, &[Topic::CatalogNodes], |state| {
        let rows = state.catalog_nodes.values().filter(|n| meta_fits(&options, n)).map(|n| node(n)).collect();
        (state.tables.catalog_nodes.max(state.tables.node_extinction), filtered(&options, rows))
    })
    .await
}

pub(super) async fn services(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let topics = [Topic::Services, Topic::CatalogNodes];
    let topics = if options.node_meta.is_empty() { &topics[..1] } else { &topics[..] };
    ctx.read(&options, topics, |state| {
        let by_node = if options.node_meta.is_empty() { Index(0) } else { state.tables.catalog_nodes };
        (state.tables.services.max(by_node), service_names(state, &options))
    })
    .await
}

fn service_names(state: &State, options: &Options) -> Result<Value, Error> {
    if options.filter.is_none() && options.node_meta.is_empty() {
        let all = state.services.iter().map(|(name, entry)| (name.to_string(), json!(catalog::tags_of(entry))));
        return Ok(object(all));
    }
    let mut found: BTreeMap<String, std::collections::BTreeSet<String>> = BTreeMap::new();
    for name in state.services.keys() {
        for (n, i) in rows(state, options, name.as_str()) {
            if filtered(options, vec![catalog_service(n, i)])?.is_empty() {
                continue;
            }
            found.entry(name.to_string()).or_default().extend(i.tags.iter().map(|t| t.to_string()));
        }
    }
    Ok(json!(found))
}

/// What a read of one service waits for, and the name as it is stored.
pub(super) fn service_topic(ctx: &Ctx) -> Result<(String, [Topic; 1]), Error> {
    if ctx.rest.is_empty() {
        return Err(Error::BadRequest("Missing service name".into()));
    }
    let name = catalog::service_name(&ctx.api.replica.snapshot(), &ctx.rest).to_owned();
    let topic = Topic::Service(ServiceName::from(name.as_str()));
    Ok((name, [topic]))
}

pub(super) async fn service(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = service_topic(&ctx)?;
    ctx.read(&options, &topics, |state| {
        let found = rows(state, &options, &name).map(|(n, i)| catalog_service(n, i)).collect();
        (state.service_index(&name), filtered(&options, found))
    })
    .await
}

/// Nothing here is a mesh proxy, so nothing is connect-capable.
pub(super) async fn connect(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = service_topic(&ctx)?;
    ctx.read(&options, &topics, |state| (state.service_index(&name), Ok(json!([])))).await
}

/// The stored name of the node a path names, and what its readers wait for.
pub(super) fn node_topic(ctx: &Ctx) -> Result<(NodeName, [Topic; 1]), Error> {
    if ctx.rest.is_empty() {
        return Err(Error::BadRequest("Missing node name".into()));
    }
    let state = ctx.api.replica.snapshot();
    let name =
        catalog::node_by_name_or_id(&state, &ctx.rest).map_or_else(|| ctx.rest.as_str().into(), |n| n.name.clone());
    let topic = Topic::CatalogNode(name.clone());
    Ok((name, [topic]))
}

fn services_of(
    state: &State,
    options: &Options,
    name: &NodeName,
    show: impl FnOnce(&CatalogNode, Vec<Value>) -> Value,
) -> Seen<Value> {
    let index = state.catalog_node_index(name.as_str());
    let Some(n) = state.catalog_nodes.get(name) else { return (index, Ok(Value::Null)) };
    let services = state.instances_on(name).map(|i| node_service(i)).collect();
    (index, filtered(options, services).map(|s| show(n, s)))
}

pub(super) async fn node_services_map(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = node_topic(&ctx)?;
    ctx.read(&options, &topics, |state| {
        services_of(state, &options, &name, |n, services| {
            let by_id = services.into_iter().map(|s| (s["ID"].as_str().unwrap_or_default().to_owned(), s));
            json!({"Node": node(n), "Services": object(by_id)})
        })
    })
    .await
}

pub(super) async fn node_services_list(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let (name, topics) = node_topic(&ctx)?;
    ctx.read(&options, &topics, |state| {
        services_of(state, &options, &name, |n, services| json!({"Node": node(n), "Services": services}))
    })
    .await
}

pub(super) async fn gateway_services(ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    Err(Error::NotBuilt { what: "catalog/gateway-services", instead: "the mesh and its gateways are out of scope" })
}
