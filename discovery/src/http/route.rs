//! The table of endpoints. A path is matched as it was sent; the rest behind a prefix is decoded once.

use std::{pin::Pin, sync::Arc};

use axum::{
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    Api, Error, agent, agent_checks, agent_services, catalog, health, kv, maintenance,
    reply::{Ctx, put},
    request::{Call, decode},
    session, status, txn,
};

type Answer = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;

struct Endpoint {
    /// With a `/` at its end: a prefix, and the rest of the path is a name.
    path: &'static str,
    methods: &'static [Method],
    handler: fn(Ctx) -> Answer,
}

macro_rules! endpoints {
    ($($path:literal $($method:ident)|+ => $handler:path;)*) => {
        &[$(Endpoint { path: $path, methods: &[$(Method::$method),+], handler: |ctx| Box::pin($handler(ctx)) }),*]
    };
}

const ENDPOINTS: &[Endpoint] = endpoints! {
    "catalog/register" PUT => catalog::register;
    "catalog/deregister" PUT => catalog::deregister;
    "catalog/datacenters" GET => catalog::datacenters;
    "catalog/nodes" GET => catalog::nodes;
    "catalog/services" GET => catalog::services;
    "catalog/service/" GET => catalog::service;
    "catalog/connect/" GET => catalog::connect;
    "catalog/node/" GET => catalog::node_services_map;
    "catalog/node-services/" GET => catalog::node_services_list;
    "catalog/gateway-services/" GET => catalog::gateway_services;
    "health/node/" GET => health::node_checks;
    "health/checks/" GET => health::service_checks;
    "health/service/" GET => health::service;
    "health/connect/" GET => health::nothing;
    "health/ingress/" GET => health::nothing;
    "health/state/" GET => health::state;
    "agent/self" GET => agent::about;
    "agent/members" GET => agent::members;
    "agent/version" GET => agent::version;
    "agent/reload" PUT => agent::reload;
    "agent/maintenance" PUT => maintenance::node;
    "agent/connect/ca/roots" GET => agent::ca_roots;
    "agent/services" GET => agent_services::list;
    "agent/service/" GET => agent_services::one;
    "agent/service/register" PUT => agent_services::register;
    "agent/service/deregister/" PUT => agent_services::deregister;
    "agent/service/maintenance/" PUT => maintenance::service;
    "agent/health/service/id/" GET => agent_services::health_by_id;
    "agent/health/service/name/" GET => agent_services::health_by_name;
    "agent/checks" GET => agent_checks::list;
    "agent/check/register" PUT => agent_checks::register;
    "agent/check/deregister/" PUT => agent_checks::deregister;
    "agent/check/pass/" PUT => agent_checks::pass;
    "agent/check/warn/" PUT => agent_checks::warn;
    "agent/check/fail/" PUT => agent_checks::fail;
    "agent/check/update/" PUT => agent_checks::update;
    "status/leader" GET => status::leader;
    "status/peers" GET => status::peers;
    "kv/" GET | PUT | DELETE => kv::key;
    "session/create" PUT => session::create;
    "session/destroy/" PUT => session::destroy;
    "session/renew/" PUT => session::renew;
    "session/info/" GET => session::info;
    "session/node/" GET => session::of_node;
    "session/list" GET => session::list;
    "txn" PUT => txn::run;
};

/// Endpoints of Consul that exist, but not here: their prefix, what they are, and what to do.
const NOT_BUILT: &[(&str, &str, &str)] = &[
    ("acl/", "ACL support", "there are no tokens; keep the API on loopback or a trusted network"),
    ("connect/", "the service mesh", "route with the load balancer's urlprefix- tags"),
    ("agent/connect/", "the service mesh", "route with the load balancer's urlprefix- tags"),
    ("config", "config entries", "they belong to the service mesh"),
    ("discovery-chain/", "the discovery chain", "read health/service instead"),
    ("exported-services", "cluster peering", "one cluster has one catalog"),
    ("imported-services", "cluster peering", "one cluster has one catalog"),
    ("peering", "cluster peering", "one cluster has one catalog"),
    ("query", "prepared queries", "read health/service with ?passing and ?filter"),
    ("event/", "user events", "watch a key instead"),
    ("snapshot", "snapshots through this API", "copy the agent's data directory while it is stopped"),
    ("operator/", "the operator API", "ask the scheduler's API on its own port"),
    ("coordinate/", "network coordinates", "?near is accepted and keeps the order"),
    ("internal/", "the internal API", "it serves Consul's own page; Trine's is on the scheduler's port under /ui"),
    ("agent/metrics", "metrics on this port", "read /v1/metrics on the scheduler's port"),
    ("agent/monitor", "log streaming on this port", "read the agent's standard error"),
    ("agent/host", "host information", "read the node on the scheduler's API"),
    ("agent/join/", "joining by API", "start the agent with retry_join"),
    ("agent/leave", "leaving by API", "stop the agent with SIGINT"),
    ("agent/force-leave/", "removing members by API", "purge the node on the scheduler's API"),
    ("agent/token/", "ACL support", "there are no tokens to set"),
];

/// Answer one request.
pub(super) async fn dispatch(api: Arc<Api>, request: Request) -> Result<Response, Error> {
    let call = Call::new(request)?;
    let path = call.path.strip_prefix("/v1/").ok_or(Error::NoVersion)?;
    let Some(endpoint) = find(path, &call.method) else {
        return Err(not_built(path));
    };
    let allow = || endpoint.methods.iter().map(Method::as_str).chain(["OPTIONS"]).collect::<Vec<_>>().join(",");
    if call.method == Method::OPTIONS {
        let mut response = StatusCode::OK.into_response();
        if let Ok(value) = HeaderValue::from_str(&allow()) {
            response.headers_mut().insert(header::ALLOW, value);
        }
        return Ok(response);
    }
    if !endpoint.methods.contains(&call.method) {
        return Err(Error::Method { method: call.method.to_string(), allow: allow() });
    }
    let rest = decode(path.strip_prefix(endpoint.path).unwrap_or_default())?;
    let mut response = (endpoint.handler)(Ctx { api, call, rest }).await?;
    put(response.headers_mut(), "x-consul-default-acl-policy", "allow");
    Ok(response)
}

/// The endpoint with the longest path that fits; among equals the one that takes the method.
///
/// `agent/service/register` is also a service with the id `register`: it is the former for PUT.
fn find(path: &str, method: &Method) -> Option<&'static Endpoint> {
    let fits = |e: &&Endpoint| if e.path.ends_with('/') { path.starts_with(e.path) } else { path == e.path };
    ENDPOINTS.iter().filter(fits).max_by_key(|e| (e.methods.contains(method), e.path.len()))
}

fn not_built(path: &str) -> Error {
    let fits = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
    };
    match NOT_BUILT.iter().find(|(prefix, ..)| fits(prefix)) {
        Some((_, what, instead)) => Error::NotBuilt { what, instead },
        None => Error::NoRoute,
    }
}
