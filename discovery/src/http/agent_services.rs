//! `agent/service…`: the services of this agent's node.
//!
//! They live in the replicated state like all others; "the agent's" means registered through it, or belonging to an
//! allocation on its node. What belongs to an allocation can be read here but not removed.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::{
    Command, NodeName, State, Topic,
    catalog::{CatalogNode, Instance, Source},
    check::Verdict,
    command::CatalogRegistration,
};
use serde_json::{Value, json};

use super::{
    Api, Error, maintenance,
    options::{self, Options},
    reply::{Ctx, empty, filtered, put},
    request::Call,
    wire::{
        check,
        node::{extend, object},
        registration::{self, AgentCheck},
        service::agent_service,
    },
};
use crate::local::SERVER_SERVICE;

pub(super) fn own_node(api: &Api) -> NodeName {
    api.node_name.as_str().into()
}

/// The instances the agent answers for.
pub(super) fn own<'a>(state: &'a State, node: &NodeName) -> impl Iterator<Item = &'a Instance> {
    state
        .instances_on(node)
        .map(|i| i.as_ref())
        .filter(|i| i.source != Source::Catalog && i.id.as_str() != SERVER_SERVICE)
}

pub(super) fn find<'a>(state: &'a State, node: &NodeName, id: &str) -> Option<&'a Instance> {
    state.instance(node, &id.into()).map(|i| i.as_ref())
}

pub(super) async fn list(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let state = ctx.api.replica.snapshot();
    let rows = own(&state, &own_node(&ctx.api)).map(|i| agent_service(i, &ctx.api.datacenter)).collect();
    let rows = filtered(&options, rows)?;
    ctx.ok(&object(rows.into_iter().map(|s| (s["ID"].as_str().unwrap_or_default().to_owned(), s))))
}

/// One service, with the hash its watchers block on.
pub(super) async fn one(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let node = own_node(&ctx.api);
    let known = ctx.call.get("hash").unwrap_or_default().to_owned();
    let watch = [Topic::CatalogNode(node.clone())];
    let deadline = tokio::time::Instant::now() + options.wait;
    loop {
        let mut woken = ctx.api.replica.waiters().subscribe(&watch);
        let state = ctx.api.replica.snapshot();
        let Some(instance) = find(&state, &node, &ctx.rest) else {
            return Err(Error::NotFound(format!("unknown service ID: {}", ctx.rest)));
        };
        let mut body = agent_service(instance, &ctx.api.datacenter);
        let hash = hash(&body);
        let is_over = tokio::time::Instant::now() >= deadline;
        if known.is_empty() || known != hash || is_over {
            extend(&mut body, [("ContentHash", json!(hash))]);
            let mut response = ctx.ok(&body)?;
            put(response.headers_mut(), "x-consul-contenthash", &hash);
            return Ok(response);
        }
        drop(state);
        _ = tokio::time::timeout_at(deadline, woken.wait()).await;
    }
}

/// Sixteen hex digits that change with the content.
fn hash(body: &Value) -> String {
    let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, body.to_string().as_bytes());
    name.simple().to_string()[..16].to_owned()
}

/// The node record to register on: the agent's own, or one made for an agent without the client role.
pub(super) fn node_record(api: &Api, state: &State) -> CatalogNode {
    let name = own_node(api);
    match state.catalog_nodes.get(&name) {
        Some(n) => CatalogNode::clone(n),
        None => CatalogNode {
            name,
            id: String::new(),
            address: api.agent.address(),
            datacenter: api.datacenter.clone(),
            tagged_addresses: Default::default(),
            meta: Default::default(),
            checks: Default::default(),
            source: Source::Agent,
            create_index: Default::default(),
            modify_index: Default::default(),
        },
    }
}

/// A check that says nothing about its status keeps the one it has.
pub(super) fn keep_status(state: &State, node: &NodeName, new: &mut AgentCheck) {
    let old = match &new.service {
        Some(id) => find(state, node, id.as_str()).and_then(|i| i.checks.get(&new.check.id)),
        None => state.catalog_nodes.get(node).and_then(|n| n.checks.get(&new.check.id)),
    };
    if let Some(old) = old.filter(|_| !new.has_status) {
        new.check.verdict = old.verdict;
        new.check.output.clone_from(&old.output);
    }
}

pub(super) async fn register(mut ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let body = ctx.call.json_body().await?;
    let node = own_node(&ctx.api);
    let mut service = registration::agent_service(&body, &node)?;
    let state = ctx.api.replica.snapshot();
    for check in &mut service.checks {
        keep_status(&state, &node, check);
    }
    let registration = CatalogRegistration {
        node: node_record(&ctx.api, &state),
        skip_node_update: true,
        instance: Some(service.instance),
        replace_checks: replaces_checks(&ctx.call),
        checks: service.checks.iter().map(|c| (c.service.clone(), c.check.clone())).collect(),
    };
    drop(state);
    ctx.propose(Command::CatalogRegister(Box::new(registration))).await?;
    for check in &service.checks {
        ctx.api.local.beat(&check.check.id);
    }
    Ok(empty())
}

fn replaces_checks(call: &Call) -> bool {
    matches!(call.get("replace-existing-checks"), Some("" | "1" | "t" | "true" | "TRUE" | "True"))
}

pub(super) async fn deregister(ctx: Ctx) -> Result<Response, Error> {
    let node = own_node(&ctx.api);
    if find(&ctx.api.replica.snapshot(), &node, &ctx.rest).is_none() {
        return Err(unknown(&ctx.rest));
    }
    let instance = Some(ctx.rest.as_str().into());
    ctx.propose(Command::CatalogDeregister { node, instance, check: None }).await?;
    Ok(empty())
}

pub(super) fn unknown(id: &str) -> Error {
    Error::NotFound(format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."))
}

/// The state of one instance by id: its status code is its health.
pub(super) async fn health_by_id(ctx: Ctx) -> Result<Response, Error> {
    let state = ctx.api.replica.snapshot();
    let Some(instance) = find(&state, &own_node(&ctx.api), &ctx.rest) else {
        return verdict_response(&ctx, "critical", StatusCode::NOT_FOUND, &Value::Null);
    };
    let (word, code) = aggregate(&state, [instance]);
    verdict_response(&ctx, word, code, &described(&state, &ctx.api, instance))
}

pub(super) async fn health_by_name(ctx: Ctx) -> Result<Response, Error> {
    let state = ctx.api.replica.snapshot();
    let node = own_node(&ctx.api);
    let found: Vec<&Instance> = own(&state, &node).filter(|i| i.service.as_str() == ctx.rest).collect();
    if found.is_empty() {
        return verdict_response(&ctx, "critical", StatusCode::NOT_FOUND, &json!([]));
    }
    let (word, code) = aggregate(&state, found.iter().copied());
    let all: Vec<Value> = found.iter().map(|i| described(&state, &ctx.api, i)).collect();
    verdict_response(&ctx, word, code, &json!(all))
}

fn described(state: &State, api: &Api, i: &Instance) -> Value {
    let of_node = state.catalog_nodes.get(&i.node);
    let checks: Vec<Value> = of_node.into_iter().flat_map(|n| check::of_node(n)).chain(check::of_instance(i)).collect();
    let (word, _) = aggregate(state, [i]);
    json!({"AggregatedStatus": word, "Service": agent_service(i, &api.datacenter), "Checks": checks})
}

/// The worst of all: maintenance, critical, warning, passing.
fn aggregate<'a>(state: &State, all: impl IntoIterator<Item = &'a Instance>) -> (&'static str, StatusCode) {
    let mut worst = Verdict::Passing;
    for i in all {
        let of_node = state.catalog_nodes.get(&i.node).map(|n| n.checks.values()).into_iter().flatten();
        if of_node.chain(i.checks.values()).any(|c| maintenance::is_maintenance(c.id.as_str())) {
            return ("maintenance", StatusCode::SERVICE_UNAVAILABLE);
        }
        worst = worst.max(state.verdict_of(i));
    }
    let code = match worst {
        Verdict::Passing => StatusCode::OK,
        Verdict::Warning => StatusCode::TOO_MANY_REQUESTS,
        Verdict::Critical => StatusCode::SERVICE_UNAVAILABLE,
    };
    (worst.as_str(), code)
}

fn verdict_response(ctx: &Ctx, word: &'static str, code: StatusCode, body: &Value) -> Result<Response, Error> {
    let accepts = ctx.call.headers.get(header::ACCEPT).is_some_and(|v| v.as_bytes().starts_with(b"text/plain"));
    let mut response = if accepts || ctx.call.get("format") == Some("text") {
        let mut text = (code, word).into_response();
        text.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        text
    } else if code == StatusCode::NOT_FOUND {
        let mut body = body.clone();
        if body.is_null() {
            body = json!({"AggregatedStatus": word, "Service": null, "Checks": []});
        }
        ctx.json(code, &body)?
    } else {
        ctx.json(code, body)?
    };
    put(response.headers_mut(), "x-consul-reason", word);
    Ok(response)
}
