//! `agent/…` about the agent itself.

use axum::response::Response;
use model::{
    State,
    catalog::{CatalogNode, Source},
    check::Verdict,
    state::NODE_CHECK,
};
use serde_json::{Value, json};

use super::{
    Api, Error,
    agent_services::own_node,
    options::{self, Options},
    reply::{Ctx, empty, filtered},
};
use crate::local::SERVER_SERVICE;

pub(super) async fn about(ctx: Ctx) -> Result<Response, Error> {
    let api = &ctx.api;
    let state = api.replica.snapshot();
    let node = state.catalog_nodes.get(&own_node(api));
    let leader = api.replica.leadership().borrow().leader.clone().unwrap_or_default();
    let mut stats = json!(api.agent.stats());
    let consul = json!({
        "server": api.agent.is_server().to_string(),
        "leader": api.replica.leadership().borrow().is_leader.to_string(),
        "leader_addr": leader,
    });
    if let Value::Object(sections) = &mut stats {
        sections.entry("consul").or_insert(consul);
    }
    let member = node.map_or(Value::Null, |n| member(api, &state, n));
    ctx.ok(&json!({
        "Config": {
            "Datacenter": api.datacenter,
            "PrimaryDatacenter": api.datacenter,
            "NodeName": api.node_name,
            "NodeID": node.map_or("", |n| n.id.as_str()),
            "Revision": "",
            "Server": api.agent.is_server(),
            "Version": api.agent.version(),
            "BuildDate": "1970-01-01T00:00:01Z",
        },
        "DebugConfig": {},
        // Round trips are not measured; these are the values of a node that has not moved.
        "Coord": {"Vec": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "Error": 1.5, "Adjustment": 0.0, "Height": 0.00001},
        "Member": member,
        "Stats": stats,
        "Meta": node.map_or_else(|| json!({}), |n| json!(n.meta)),
        "xDS": {"SupportedProxies": {}, "Port": -1, "Ports": {"Plaintext": -1, "TLS": -1}},
    }))
}

fn member(api: &Api, state: &State, n: &CatalogNode) -> Value {
    let server = state.instance(&n.name, &SERVER_SERVICE.into());
    let (alive, failed) = (1, 4);
    let lost = n.checks.get(NODE_CHECK).is_some_and(|c| c.verdict == Verdict::Critical);
    let version = api.agent.version();
    json!({
        "Name": n.name.as_str(),
        "Addr": n.address,
        "Port": server.map_or(0, |s| s.port),
        "Tags": {
            "role": if server.is_some() { "consul" } else { "node" },
            "dc": n.datacenter,
            "segment": "",
            "build": version,
            "id": n.id,
            "vsn": "2",
            "vsn_min": "2",
            "vsn_max": "3",
            "acls": "0",
            "port": server.map_or_else(String::new, |s| s.port.to_string()),
        },
        "Status": if lost { failed } else { alive },
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    })
}

pub(super) async fn members(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let state = ctx.api.replica.snapshot();
    let only_servers = ctx.call.get("wan").is_some_and(|v| !matches!(v, "" | "0" | "false"));
    let rows = state
        .catalog_nodes
        .values()
        .filter(|n| n.source == Source::Node)
        .filter(|n| !only_servers || state.instance(&n.name, &SERVER_SERVICE.into()).is_some())
        .map(|n| member(&ctx.api, &state, n))
        .collect();
    ctx.ok(&filtered(&options, rows)?)
}

pub(super) async fn version(ctx: Ctx) -> Result<Response, Error> {
    ctx.ok(
        &json!({"SHA": "", "BuildDate": "1970-01-01T00:00:01Z", "HumanVersion": ctx.api.agent.version(), "FIPS": ""}),
    )
}

pub(super) async fn reload(ctx: Ctx) -> Result<Response, Error> {
    ctx.api.agent.reload().map_err(Error::Internal)?;
    Ok(empty())
}

/// There is no certificate authority; clients that ask (to find out whether there is) are told so with an empty list.
pub(super) async fn ca_roots(ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let options = Options::read(&ctx.api, &ctx.call)?;
    ctx.read(&options, &[], |_| (model::Index(1), Ok(json!({"ActiveRootID": "", "TrustDomain": "", "Roots": []}))))
        .await
}
