//! `txn`: several key operations, all or nothing. Operations on nodes, services and checks are not built.

use axum::{http::StatusCode, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use model::{
    Command, Index, SessionId, State,
    command::Reply,
    kv::{KvGuard, KvOp, KvTest, MAX_VALUE},
};
use serde_json::{Value, json};

use super::{
    Error, kv,
    options::{self, Options},
    reply::Ctx,
    wire::{decode::Fields, node::extend, registration::TEXT_MAX},
};

const OPS_MAX: usize = 128;
/// Values are base64 in here, and there may be several; the whole is still bounded.
const BODY_MAX: usize = 1 << 20;
const KEY_MAX: usize = 16 * 1024;

/// One operation: what it proposes, and what it shows afterwards.
struct Op {
    /// `None`: a plain read, which always succeeds.
    change: Option<KvOp>,
    show: Show,
}

enum Show {
    Nothing,
    /// The entry; without its value after a write.
    Key {
        key: String,
        with_value: bool,
        may_miss: bool,
    },
    Tree(String),
}

pub(super) async fn run(mut ctx: Ctx) -> Result<Response, Error> {
    options::datacenter(&ctx.api, &ctx.call)?;
    let body = ctx.call.body(BODY_MAX).await?;
    let list: Value =
        serde_json::from_slice(&body).map_err(|e| Error::BadRequest(format!("Failed to parse body: {e}")))?;
    let Value::Array(list) = list else {
        return Err(Error::BadRequest("Failed to parse body: it must be a list of operations".into()));
    };
    if list.len() > OPS_MAX {
        return Err(Error::TooLarge(format!("Transaction contains too many operations ({} > {OPS_MAX})", list.len())));
    }
    let ops = list.into_iter().map(operation).collect::<Result<Vec<_>, _>>()?;
    let reads_only = ops.iter().all(|op| matches!(op.change, None | Some(KvOp::Check { .. })));
    let (numbers, changes): (Vec<usize>, Vec<KvOp>) =
        ops.iter().enumerate().filter_map(|(n, op)| Some((n, op.change.clone()?))).unzip();
    let applied = ctx.propose(Command::Kv { ops: changes.clone(), at: crate::local::now() }).await?;
    if let Reply::Kv { written: false, failed_op } = applied.reply {
        let failed = failed_op.map_or(0, |n| n as usize);
        let what = changes.get(failed).map_or_else(String::new, failure);
        let errors = json!([{"OpIndex": numbers.get(failed).copied().unwrap_or_default(), "What": what}]);
        return ctx.json(StatusCode::CONFLICT, &json!({"Results": null, "Errors": errors}));
    }
    let state = ctx.api.replica.snapshot();
    let results: Vec<Value> = ops.iter().flat_map(|op| results(&state, op)).collect();
    let results = if results.is_empty() { Value::Null } else { json!(results) };
    let mut response = ctx.ok(&json!({"Results": results, "Errors": null}))?;
    if reads_only {
        let options = Options::read(&ctx.api, &ctx.call)?;
        ctx.describe(response.headers_mut(), &options, applied.index);
    }
    Ok(response)
}

fn failure(op: &KvOp) -> String {
    match op {
        KvOp::Check { key, test: KvTest::Exists } => format!("key {key:?} doesn't exist"),
        KvOp::Check { key, test: KvTest::NotExists } => format!("key {key:?} exists"),
        KvOp::Check { key, test: KvTest::Index(_) } => format!("current modify index of key {key:?} does not match"),
        KvOp::Check { key, test: KvTest::HeldBy(_) } => format!("key {key:?} is not held by the session"),
        KvOp::Put { key, guard: KvGuard::Cas(_), .. } => format!("failed to set key {key:?}, index is stale"),
        KvOp::Put { key, guard: KvGuard::Acquire(_), .. } => {
            format!("failed to lock key {key:?}, lock is already held")
        }
        KvOp::Put { key, .. } => {
            format!("failed to unlock key {key:?}, lock isn't held, or is held by another session")
        }
        KvOp::Delete { key, .. } => format!("failed to delete key {key:?}, index is stale"),
        KvOp::DeleteTree { prefix } => format!("failed to delete keys under {prefix:?}"),
    }
}

fn results(state: &State, op: &Op) -> Vec<Value> {
    match &op.show {
        Show::Nothing => Vec::new(),
        Show::Key { key, with_value, may_miss } => match state.kv.get(key.as_str()) {
            Some(e) => {
                let mut row = kv::entry(key, e);
                if !with_value {
                    extend(&mut row, [("Value", Value::Null)]);
                }
                vec![json!({"KV": row})]
            }
            None if *may_miss => {
                let row =
                    json!({"LockIndex": 0, "Key": key, "Flags": 0, "Value": null, "CreateIndex": 0, "ModifyIndex": 0});
                vec![json!({"KV": row})]
            }
            None => Vec::new(),
        },
        Show::Tree(prefix) => state.kv_under(prefix).map(|(k, e)| json!({"KV": kv::entry(k, e)})).collect(),
    }
}

fn operation(value: Value) -> Result<Op, Error> {
    let bytes = value.to_string();
    let mut f = Fields::parse(bytes.as_bytes())?;
    let Some(mut kv) = f.object("KV")? else {
        return Err(Error::NotBuilt {
            what: "a transaction of nodes, services or checks",
            instead: "use KV operations here, and catalog/register for the others",
        });
    };
    f.finish()?;
    let verb = kv.text("Verb", TEXT_MAX)?;
    let key = kv.text("Key", KEY_MAX)?;
    let encoded = kv.text("Value", MAX_VALUE * 2)?;
    let value = BASE64_STANDARD
        .decode(&encoded)
        .map_err(|e| Error::BadRequest(format!("Failed to parse body: the value of {key:?} is not base64: {e}")))?;
    if value.len() > MAX_VALUE {
        return Err(Error::TooLarge(format!(
            "Value for key {key:?} is too large ({} > {MAX_VALUE} bytes)",
            value.len()
        )));
    }
    let flags = kv.number("Flags", u64::MAX)?;
    let index = Index(kv.number("Index", u64::MAX)?);
    let session = kv.text("Session", TEXT_MAX)?;
    kv.ignore(&["Namespace", "Partition"]);
    kv.finish()?;
    if key.is_empty() && !matches!(verb.as_str(), "get-tree" | "delete-tree") {
        return Err(Error::BadRequest("Must provide key".into()));
    }
    verb_operation(&verb, key, value.into(), flags, index, &session)
}

fn verb_operation(verb: &str, key: String, value: Bytes, flags: u64, index: Index, session: &str) -> Result<Op, Error> {
    let held = || session.parse::<SessionId>().map_err(|_| Error::Internal(format!("invalid session {session:?}")));
    let show = |with_value, may_miss| Show::Key { key: key.clone(), with_value, may_miss };
    let put = |guard| Op {
        change: Some(KvOp::Put { key: key.clone(), value: value.clone(), flags, guard }),
        show: show(false, false),
    };
    let check = |test, show| Op { change: Some(KvOp::Check { key: key.clone(), test }), show };
    let delete = |guard| Op { change: Some(KvOp::Delete { key: key.clone(), guard }), show: Show::Nothing };
    Ok(match verb {
        "set" => put(KvGuard::None),
        "cas" => put(KvGuard::Cas(index)),
        "lock" => put(KvGuard::Acquire(held()?)),
        "unlock" => put(KvGuard::Release(held()?)),
        "get" => check(KvTest::Exists, show(true, false)),
        "get-or-empty" => Op { change: None, show: show(true, true) },
        "get-tree" => Op { change: None, show: Show::Tree(key.clone()) },
        "check-index" => check(KvTest::Index(index), show(false, false)),
        "check-session" => check(KvTest::HeldBy(held()?), show(false, false)),
        "check-not-exists" => check(KvTest::NotExists, Show::Nothing),
        "delete" => delete(KvGuard::None),
        "delete-cas" => delete(KvGuard::Cas(index)),
        "delete-tree" => Op { change: Some(KvOp::DeleteTree { prefix: key.clone() }), show: Show::Nothing },
        other => return Err(Error::BadRequest(format!("unknown operation: invalid verb {other:?}"))),
    })
}
