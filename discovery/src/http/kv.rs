//! `kv/…`: keys and values. Keys are taken verbatim: nothing in them is cleaned or resolved.

use std::collections::BTreeSet;

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{
    Command, Index, SessionId, State, Topic,
    kv::{KvEntry, KvGuard, KvOp, MAX_VALUE},
};
use serde_json::{Value, json};

use super::{
    Error,
    options::{self, Options},
    reply::Ctx,
    request::Call,
    wire::node::extend,
};

pub(super) async fn key(ctx: Ctx) -> Result<Response, Error> {
    match ctx.call.method {
        Method::PUT => put(ctx).await,
        Method::DELETE => delete(ctx).await,
        _ => get(ctx).await,
    }
}

fn missing_key() -> Error {
    Error::BadRequest("Missing key name".into())
}

/// An entry as JSON.
pub(super) fn entry(key: &str, e: &KvEntry) -> Value {
    let value = if e.value.is_empty() { Value::Null } else { json!(BASE64_STANDARD.encode(&e.value)) };
    let mut row = json!({
        "LockIndex": e.lock_index,
        "Key": key,
        "Flags": e.flags,
        "Value": value,
        "CreateIndex": e.create_index.0,
        "ModifyIndex": e.modify_index.0,
    });
    if let Some(session) = e.session {
        extend(&mut row, [("Session", json!(session.to_string()))]);
    }
    row
}

async fn get(ctx: Ctx) -> Result<Response, Error> {
    let options = Options::read(&ctx.api, &ctx.call)?;
    let key = ctx.rest.clone();
    if ctx.call.has("keys") {
        return keys(ctx, options, &key).await;
    }
    if ctx.call.has("recurse") {
        return tree(ctx, options, &key).await;
    }
    if key.is_empty() {
        return Err(missing_key());
    }
    let (index, found) = ctx
        .look(&options, &[Topic::Key(key.clone())], |state| {
            (state.kv_key_index(&key), Ok(state.kv.get(key.as_str()).cloned()))
        })
        .await?;
    let mut response = match found {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(e) if ctx.call.has("raw") => raw(&e),
        Some(e) => ctx.ok(&[entry(&key, &e)])?,
    };
    ctx.describe(response.headers_mut(), &options, index);
    Ok(response)
}

/// The bytes as they are, in a way that no browser takes for a page.
fn raw(e: &KvEntry) -> Response {
    let mut response = e.value.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}

async fn tree(ctx: Ctx, options: Options, prefix: &str) -> Result<Response, Error> {
    let (index, rows) = ctx
        .look(&options, &[Topic::Kv], |state| {
            let rows: Vec<Value> = state.kv_under(prefix).map(|(k, e)| entry(k, e)).collect();
            (state.kv_prefix_index(prefix), Ok(rows))
        })
        .await?;
    list_response(&ctx, &options, index, &rows, false)
}

async fn keys(ctx: Ctx, options: Options, prefix: &str) -> Result<Response, Error> {
    let separator = ctx.call.get("separator").or_else(|| ctx.call.get("seperator")).unwrap_or_default().to_owned();
    let (index, names) = ctx
        .look(&options, &[Topic::Kv], |state| (state.kv_prefix_index(prefix), Ok(names(state, prefix, &separator))))
        .await?;
    list_response(&ctx, &options, index, &names, prefix.is_empty())
}

/// Keys under a prefix, cut after the first separator behind it.
fn names(state: &State, prefix: &str, separator: &str) -> Vec<String> {
    let cut = |key: &str| {
        let rest = &key[prefix.len()..];
        match rest.find(separator).filter(|_| !separator.is_empty()) {
            Some(at) => key[..prefix.len() + at + separator.len()].to_owned(),
            None => key.to_owned(),
        }
    };
    state.kv_under(prefix).map(|(k, _)| cut(k)).collect::<BTreeSet<_>>().into_iter().collect()
}

fn list_response<T: serde::Serialize>(
    ctx: &Ctx,
    options: &Options,
    index: Index,
    rows: &[T],
    empty_is_found: bool,
) -> Result<Response, Error> {
    let mut response =
        if rows.is_empty() && !empty_is_found { StatusCode::NOT_FOUND.into_response() } else { ctx.ok(&rows)? };
    ctx.describe(response.headers_mut(), options, index);
    Ok(response)
}

fn session(text: &str) -> Result<SessionId, Error> {
    text.parse().map_err(|_| Error::Internal(format!("invalid session {text:?}")))
}

fn cas(call: &Call) -> Result<Option<KvGuard>, Error> {
    call.get("cas")
        .map(|v| v.parse().map(|n| KvGuard::Cas(Index(n))))
        .transpose()
        .map_err(|_| Error::BadRequest("Invalid cas: it must be a modify index".into()))
}

fn conflict(call: &Call, names: &[&str]) -> Result<(), Error> {
    let given: Vec<&str> = names.iter().copied().filter(|n| call.has(n)).collect();
    if given.len() > 1 {
        return Err(Error::BadRequest(format!("Conflicting flags: {}", given.join(", "))));
    }
    Ok(())
}

async fn put(mut ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let key = ctx.rest.clone();
    if key.is_empty() {
        return Err(missing_key());
    }
    conflict(&ctx.call, &["cas", "acquire", "release"])?;
    let flags = match ctx.call.get("flags").filter(|v| !v.is_empty()) {
        Some(v) => v.parse().map_err(|_| Error::BadRequest("Invalid flags: they must be a number".into()))?,
        None => 0,
    };
    let guard = match (cas(&ctx.call)?, ctx.call.get("acquire"), ctx.call.get("release")) {
        (Some(cas), ..) => cas,
        (_, Some(id), _) => KvGuard::Acquire(session(id)?),
        (_, _, Some(id)) => KvGuard::Release(session(id)?),
        _ => KvGuard::None,
    };
    let value = ctx.call.body(MAX_VALUE).await?;
    let ops = vec![KvOp::Put { key, value, flags, guard }];
    let written = ctx.propose_kv(Command::Kv { ops, at: crate::local::now() }).await?;
    ctx.ok(&written)
}

async fn delete(ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let key = ctx.rest.clone();
    conflict(&ctx.call, &["cas", "recurse"])?;
    let op = if ctx.call.has("recurse") {
        KvOp::DeleteTree { prefix: key }
    } else if key.is_empty() {
        return Err(missing_key());
    } else {
        KvOp::Delete { key, guard: cas(&ctx.call)?.unwrap_or(KvGuard::None) }
    };
    let written = ctx.propose_kv(Command::Kv { ops: vec![op], at: crate::local::now() }).await?;
    ctx.ok(&written)
}
