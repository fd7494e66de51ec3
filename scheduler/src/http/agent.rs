//! `/v1/agent/*`, `/v1/status/*`, `/v1/regions` and `/v1/metrics`: what the agent says about itself.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Error, Health, Member,
    read::Context,
    reply::{Payload, Reply},
    request::Verb,
};

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    match (rest, cx.req.verb) {
        ("self", Verb::Get) => Ok(Reply::json(about(cx))),
        ("members", Verb::Get) => Ok(Reply::json(members(cx))),
        ("health", Verb::Get) => health(cx),
        ("servers", Verb::Get) => Ok(Reply::json(json!(cx.api.agent.servers()))),
        ("servers", Verb::Put) => Err(Error::NotBuilt("changing an agent's servers while it runs".into())),
        ("reload", Verb::Put) => {
            cx.api.agent.reload().await.map_err(Error::Refused)?;
            Ok(Reply::new(Payload::Empty))
        }
        // The answer has a place for the reason, and clients read it.
        ("join", Verb::Put) => Ok(Reply::json(json!({
            "num_joined": 0,
            "error": "joining servers over HTTP is not built in Trine yet; name them in server.retry_join and restart",
        }))),
        ("self" | "members" | "health" | "servers" | "reload" | "join", _) => Err(Error::Method),
        _ => {
            let family = rest.split('/').next().unwrap_or(rest);
            match family {
                "force-leave" => Err(Error::NotBuilt("removing servers (/v1/agent/force-leave)".into())),
                "monitor" => Err(Error::NotBuilt("streaming the agent's log (/v1/agent/monitor)".into())),
                "host" | "pprof" | "keyring" | "schedulers" => Err(Error::NotBuilt(format!("/v1/agent/{family}"))),
                _ => Err(Error::NoRoute),
            }
        }
    }
}

fn member(cx: &Context, m: &Member) -> Value {
    let agent = &cx.api.agent;
    json!({
        "Name": m.name,
        "Addr": m.address,
        "Port": m.port,
        "Status": m.status,
        "Tags": {
            "role": "nomad", "region": agent.region(), "dc": agent.datacenter(), "build": m.build, "id": m.name,
            "port": m.port.to_string(), "rpc_addr": m.address, "raft_vsn": "3", "vsn": "1",
        },
        "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
    })
}

fn about(cx: &Context) -> Value {
    let agent = &cx.api.agent;
    let mut config = match agent.config() {
        Value::Object(map) => map,
        other => Map::from_iter([("Config".to_owned(), other)]),
    };
    let version = agent.version();
    for (key, value) in [
        ("Region", json!(agent.region())),
        ("Datacenter", json!(agent.datacenter())),
        ("NodeName", json!(agent.name())),
        ("Version", json!({ "Version": version, "VersionPrerelease": "", "VersionMetadata": "", "Revision": "" })),
    ] {
        config.entry(key).or_insert(value);
    }
    // Servers are listed as `name.region`.
    let (name, server) = (agent.name(), format!("{}.{}", agent.name(), agent.region()));
    let own = agent.members().into_iter().find(|m| m.name == name || m.name == server).unwrap_or_else(|| Member {
        name: agent.name(),
        status: "none".into(),
        build: version,
        ..Member::default()
    });
    let mut stats = match agent.stats() {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    if agent.server_health().is_some() {
        let leads = cx.api.replica.leadership().borrow().is_leader;
        let nomad = stats.entry("nomad").or_insert_with(|| json!({}));
        nomad["server"] = json!("true");
        nomad["leader"] = json!(leads.to_string());
        nomad["leader_addr"] = json!(agent.leader().unwrap_or_default());
    }
    if let Some(id) = agent.node_id() {
        let client = stats.entry("client").or_insert_with(|| json!({}));
        client["node_id"] = json!(id.to_string());
    }
    json!({ "config": config, "member": member(cx, &own), "stats": stats })
}

fn members(cx: &Context) -> Value {
    let agent = &cx.api.agent;
    let all: Vec<Value> = agent.members().iter().map(|m| member(cx, m)).collect();
    json!({
        "ServerName": agent.name(),
        "ServerRegion": agent.region(),
        "ServerDC": agent.datacenter(),
        "Members": all,
    })
}

fn health(cx: &Context) -> Result<Reply, Error> {
    let (client, server) = match cx.req.query.given("type") {
        None => (true, true),
        Some("client") => (true, false),
        Some("server") => (false, true),
        Some(other) => return Err(Error::BadRequest(format!("type must be client or server, not {other:?}"))),
    };
    let agent = &cx.api.agent;
    let mut body = Map::new();
    let mut well = true;
    let asked = cx.req.query.given("type").is_some();
    for (wanted, name, found) in [(client, "client", agent.client_health()), (server, "server", agent.server_health())]
    {
        // A role that is off is unhealthy only when it was asked for by name.
        let found = match found {
            None if asked => Some(Health { ok: false, message: format!("{name} not enabled") }),
            other => other,
        };
        if let Some(h) = found.filter(|_| wanted) {
            well &= h.ok;
            body.insert(name.to_owned(), json!({ "ok": h.ok, "message": h.message }));
        }
    }
    let mut reply = Reply::json(Value::Object(body));
    if !well {
        reply.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(reply)
}

/// `/v1/status/*`, `/v1/regions`, `/v1/metrics`.
pub fn status(cx: &Context, head: &str, rest: &str) -> Result<Reply, Error> {
    let agent = &cx.api.agent;
    match (head, rest) {
        ("status", "leader") => {
            cx.only(Verb::Get)?;
            let known = agent.leader().or_else(|| cx.api.replica.leadership().borrow().leader.clone());
            let leader = known.filter(|l| !l.is_empty());
            leader.map(|l| Reply::json(json!(l))).ok_or(Error::Propose(model::ProposeError::NoLeader))
        }
        ("status", "peers") => {
            cx.only(Verb::Get)?;
            Ok(Reply::json(json!(agent.servers())))
        }
        ("regions", "") => {
            cx.only(Verb::Get)?;
            Ok(Reply::json(json!([agent.region()])))
        }
        ("metrics", "") => {
            cx.only(Verb::Get)?;
            Ok(match cx.req.query.given("format") {
                Some("prometheus") => match agent.metrics(true) {
                    off if off.is_empty() => return Err(Error::SwitchedOff("Prometheus is not enabled".into())),
                    text => {
                        Reply::new(Payload::Text { content_type: "text/plain; version=0.0.4; charset=utf-8", text })
                    }
                },
                None | Some("json") => {
                    Reply::new(Payload::Text { content_type: "application/json", text: agent.metrics(false) })
                }
                Some(other) => {
                    return Err(Error::BadRequest(format!("format must be prometheus, or left out; not {other:?}")));
                }
            })
        }
        _ => Err(Error::NoRoute),
    }
}
