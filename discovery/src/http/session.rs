//! `session/…`: the leases that hold locks. The leader ends them; see [`crate::local`].

use std::{collections::BTreeSet, time::Duration};

use axum::response::Response;
use model::{
    CheckId, Command, Index, NodeName, SessionId, State, Timestamp, Topic,
    kv::{Session, SessionBehavior},
    state::NODE_CHECK,
};
use serde_json::{Value, json};

use super::{
    Error,
    agent_services::own_node,
    duration,
    options::{self, Options},
    reply::Ctx,
    wire::{decode::Fields, node::extend, registration::TEXT_MAX},
};
use crate::catalog;

const TTL_MIN: Duration = Duration::from_secs(10);
const TTL_MAX: Duration = Duration::from_secs(86_400);
const DELAY_DEFAULT: Duration = Duration::from_secs(15);
const DELAY_MAX: Duration = Duration::from_secs(60);

pub(super) async fn create(mut ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let body = ctx.call.json_body().await?;
    // No body at all is a session with defaults.
    let mut f = Fields::parse(if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &body })?;
    let name = f.text("Name", TEXT_MAX)?;
    let node = f.text("Node", TEXT_MAX)?;
    let lock_delay = lock_delay(&mut f)?;
    let behavior = match f.text("Behavior", TEXT_MAX)?.as_str() {
        "" | "release" => SessionBehavior::Release,
        "delete" => SessionBehavior::Delete,
        other => return Err(Error::Internal(format!("Invalid Behavior setting '{other}'"))),
    };
    let ttl = ttl(&mut f)?;
    let state = ctx.api.replica.snapshot();
    let node: NodeName = if node.is_empty() {
        own_node(&ctx.api)
    } else {
        catalog::node(&state, &node).map_or_else(|| node.as_str().into(), |n| n.name.clone())
    };
    let checks = checks(&mut f, &state, &node)?;
    f.ignore(&["ID", "Datacenter", "Namespace", "Partition", "CreateIndex", "ModifyIndex"]);
    f.finish()?;
    drop(state);
    let id = SessionId(uuid::Uuid::new_v4());
    let session = Session {
        id,
        name,
        node,
        checks,
        lock_delay,
        behavior,
        ttl,
        expires_at: expiry(ttl),
        create_index: Index(0),
        modify_index: Index(0),
    };
    ctx.propose(Command::SessionCreate { session }).await?;
    ctx.ok(&json!({"ID": id.to_string()}))
}

/// A number below 1000 is seconds, for clients that do not think in nanoseconds.
fn lock_delay(f: &mut Fields) -> Result<Duration, Error> {
    let wrong = || Error::BadRequest("Request decode failed: LockDelay is not a duration".into());
    match f.any("LockDelay") {
        None => Ok(DELAY_DEFAULT),
        Some(Value::Number(n)) if n.as_u64().is_some_and(|n| n < 1000) => {
            Ok(Duration::from_secs(n.as_u64().unwrap_or_default()).min(DELAY_MAX))
        }
        Some(v) => duration::from_json(&v).map(|d| d.min(DELAY_MAX)).ok_or_else(wrong),
    }
}

fn ttl(f: &mut Fields) -> Result<Duration, Error> {
    let text = f.text("TTL", TEXT_MAX)?;
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let ttl = duration::parse(&text).ok_or_else(|| Error::Internal(format!("Invalid Session TTL '{text}'")))?;
    if !ttl.is_zero() && !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Err(Error::Internal(format!(
            "Invalid Session TTL '{}', must be between [{}={}]",
            ttl.as_nanos(),
            duration::text(TTL_MIN),
            duration::text(TTL_MAX)
        )));
    }
    Ok(ttl)
}

/// Twice the TTL: a renewal that is late by one network hiccup costs no lock.
fn expiry(ttl: Duration) -> Timestamp {
    if ttl.is_zero() { Timestamp::ZERO } else { crate::local::now() + ttl * 2 }
}

/// The checks the session is bound to; without any word about them, the one that says the node lives.
fn checks(f: &mut Fields, state: &State, node: &NodeName) -> Result<BTreeSet<CheckId>, Error> {
    let mut named = None;
    for key in ["Checks", "NodeChecks"] {
        if let Some(v) = f.any(key) {
            let list: Vec<String> = serde_json::from_value(v)
                .map_err(|_| Error::BadRequest(format!("Request decode failed: {key} must be a list of strings")))?;
            named.get_or_insert_with(BTreeSet::new).extend(list.into_iter().map(CheckId::from));
        }
    }
    let mut checks = named.unwrap_or_else(|| {
        let alive = state.catalog_nodes.get(node).is_some_and(|n| n.checks.contains_key(NODE_CHECK));
        alive.then(|| CheckId::from(NODE_CHECK)).into_iter().collect()
    });
    for mut of_service in f.objects("ServiceChecks")? {
        checks.insert(of_service.text("ID", TEXT_MAX)?.into());
        of_service.ignore(&["Namespace"]);
        of_service.finish()?;
    }
    Ok(checks)
}

fn shown(state: &State, s: &Session) -> Value {
    let of_node = state.catalog_nodes.get(&s.node);
    let is_nodes = |c: &CheckId| of_node.is_none_or(|n| n.checks.contains_key(c));
    let (node, service): (Vec<_>, Vec<_>) = s.checks.iter().partition(|c| is_nodes(c));
    let node: Vec<&str> = node.into_iter().map(CheckId::as_str).collect();
    let service: Vec<Value> = service.into_iter().map(|c| json!({"ID": c.as_str(), "Namespace": ""})).collect();
    let mut row = json!({
        "ID": s.id.to_string(),
        "Name": s.name,
        "Node": s.node.as_str(),
        "LockDelay": u64::try_from(s.lock_delay.as_nanos()).unwrap_or(u64::MAX),
        "Behavior": match s.behavior { SessionBehavior::Release => "release", SessionBehavior::Delete => "delete" },
        "TTL": if s.ttl.is_zero() { String::new() } else { duration::text(s.ttl) },
        "NodeChecks": node,
        "ServiceChecks": if service.is_empty() { Value::Null } else { json!(service) },
        "CreateIndex": s.create_index.0,
        "ModifyIndex": s.modify_index.0,
    });
    if !node.is_empty() {
        extend(&mut row, [("Checks", json!(node))]);
    }
    row
}

/// The session a path names; one that is no id names none.
fn named(ctx: &Ctx) -> Result<Option<SessionId>, Error> {
    if ctx.rest.is_empty() {
        return Err(Error::BadRequest("Missing session".into()));
    }
    Ok(ctx.rest.parse().ok())
}

pub(super) async fn destroy(ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    if let Some(id) = named(&ctx)? {
        ctx.propose(Command::SessionDestroy { id, at: crate::local::now() }).await?;
    }
    ctx.ok(&true)
}

pub(super) async fn renew(ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let unknown = || Error::NotFound(format!("Session id '{}' not found", ctx.rest));
    let id = named(&ctx)?.ok_or_else(unknown)?;
    let ttl = ctx.api.replica.snapshot().sessions.get(&id).ok_or_else(unknown)?.ttl;
    if !ttl.is_zero() {
        ctx.propose(Command::SessionRenew { id, expires_at: expiry(ttl) }).await?;
    }
    let state = ctx.api.replica.snapshot();
    let session = state.sessions.get(&id).ok_or_else(unknown)?;
    ctx.ok(&[shown(&state, session)])
}

pub(super) async fn info(ctx: Ctx) -> Result<Response, Error> {
    let id = named(&ctx)?;
    sessions(&ctx, |s| Some(s.id) == id).await
}

pub(super) async fn of_node(ctx: Ctx) -> Result<Response, Error> {
    if ctx.rest.is_empty() {
        return Err(Error::BadRequest("Missing node name".into()));
    }
    sessions(&ctx, |s| s.node.as_str().eq_ignore_ascii_case(&ctx.rest)).await
}

pub(super) async fn list(ctx: Ctx) -> Result<Response, Error> {
    sessions(&ctx, |_| true).await
}

async fn sessions(ctx: &Ctx, wanted: impl Fn(&Session) -> bool) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    ctx.read(&options, &[Topic::Sessions], |state| {
        let rows: Vec<Value> = state.sessions.values().filter(|s| wanted(s)).map(|s| shown(state, s)).collect();
        (state.tables.sessions, Ok(rows))
    })
    .await
}
