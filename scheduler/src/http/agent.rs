//! `/v1/agent/*`, `/v1/status/*`, `/v1/regions` and `/v1/metrics`: what the agent says about itself.

use http::StatusCode;

use super::{
    Error, Health,
    read::Context,
    reply::{Payload, Reply},
    request::Verb,
    wire::agent,
};

const NO_JOIN: &str = "joining servers over HTTP is not built in Trine yet; name them in server.retry_join and restart";

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    match (rest, cx.req.verb) {
        ("self", Verb::Get) => {
            Ok(Reply::json(agent::about(&*cx.api.agent, cx.api.replica.leadership().borrow().is_leader)))
        }
        ("members", Verb::Get) => Ok(Reply::json(agent::members(&*cx.api.agent))),
        ("health", Verb::Get) => health(cx),
        ("servers", Verb::Get) => Ok(Reply::json(cx.api.agent.servers().into())),
        ("servers", Verb::Put) => Err(Error::NotBuilt("changing an agent's servers while it runs".into())),
        ("reload", Verb::Put) => {
            cx.api.agent.reload().await.map_err(Error::Refused)?;
            Ok(Reply::new(Payload::Empty))
        }
        ("join", Verb::Put) => Ok(Reply::json(agent::not_joined(NO_JOIN))),
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

fn health(cx: &Context) -> Result<Reply, Error> {
    let (client, server) = match cx.req.query.given("type") {
        None => (true, true),
        Some("client") => (true, false),
        Some("server") => (false, true),
        Some(other) => return Err(Error::BadRequest(format!("type must be client or server, not {other:?}"))),
    };
    let agent = &cx.api.agent;
    let mut roles = Vec::new();
    let asked = cx.req.query.given("type").is_some();
    for (wanted, name, found) in [(client, "client", agent.client_health()), (server, "server", agent.server_health())]
    {
        // A role that is off is unhealthy only when it was asked for by name.
        let found = match found {
            None if asked => Some(Health { ok: false, message: format!("{name} not enabled") }),
            other => other,
        };
        if let Some(h) = found.filter(|_| wanted) {
            roles.push((name, h));
        }
    }
    let mut reply = Reply::json(agent::health(&roles));
    if roles.iter().any(|(_, h)| !h.ok) {
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
            leader.map(|l| Reply::json(l.into())).ok_or(Error::Propose(model::ProposeError::NoLeader))
        }
        ("status", "peers") => {
            cx.only(Verb::Get)?;
            Ok(Reply::json(agent.servers().into()))
        }
        ("regions", "") => {
            cx.only(Verb::Get)?;
            Ok(Reply::json(vec![agent.region()].into()))
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
