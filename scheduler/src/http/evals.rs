//! `/v1/evaluations` and `/v1/evaluation/…`.

use std::collections::BTreeSet;

use model::{Eval, EvalId, State, Topic};
use serde_json::Value;

use super::{
    Error,
    read::{Context, Key, Listing, newest},
    reply::Reply,
    request::Verb,
    wire::{alloc, eval},
};

/// Evaluations that `related` follows; chains are short, and a damaged one must not loop.
const RELATED_MAX: usize = 256;

pub async fn collection(cx: &Context, rest: &str) -> Result<Reply, Error> {
    match (rest, cx.req.verb) {
        ("", Verb::Get) => list(cx).await,
        ("count", Verb::Get) => count(cx),
        ("", Verb::Delete) => {
            Err(Error::NotBuilt("deleting evaluations; PUT /v1/system/gc removes finished ones, it".into()))
        }
        ("" | "count", _) => Err(Error::Method),
        _ => Err(Error::NoRoute),
    }
}

/// What `job`, `status` and `prefix` choose.
fn chosen(cx: &Context) -> Result<impl Fn(&Eval) -> bool + use<>, Error> {
    let query = &cx.req.query;
    let own = |key: &str| query.given(key).map(str::to_owned);
    let (job, status, prefix) = (own("job"), own("status"), own("prefix").map(|p| p.to_lowercase()));
    if query.given("filter").is_some() && (job.is_some() || status.is_some()) {
        return Err(Error::BadRequest("Filter expression cannot be used with other filter parameters".into()));
    }
    let spaces = query.namespaces();
    Ok(move |e: &Eval| {
        spaces.has(&e.job.namespace)
            && job.as_ref().is_none_or(|j| e.job.id.as_str() == j)
            && status.as_ref().is_none_or(|s| e.status.as_str() == s)
            && prefix.as_ref().is_none_or(|p| e.id.to_string().starts_with(p))
    })
}

async fn list(cx: &Context) -> Result<Reply, Error> {
    let (listing, wanted) = (Listing::of(&cx.req.query)?, chosen(cx)?);
    let by_id = cx.req.query.given("prefix").is_some();
    cx.read(
        &[Topic::Evals],
        |s| s.tables.evals,
        |s| {
            let place = |e: &Eval| Key(if by_id { 0 } else { e.create_index.0 }, e.id.to_string());
            let evals = s.evals.values().filter(|e| wanted(e)).map(|e| (place(e), e));
            listing.page(evals, |e| eval::full(e), |e| eval::full(e))
        },
    )
    .await
}

fn count(cx: &Context) -> Result<Reply, Error> {
    let (listing, wanted) = (Listing::of(&cx.req.query)?, chosen(cx)?);
    let state = cx.snapshot();
    let evals = state.evals.values().filter(|e| wanted(e)).map(|e| (Key(0, String::new()), e));
    let all = listing.page(evals, |e| eval::full(e), |_| Value::Null)?;
    Ok(cx.read_now(eval::count(all.body.as_array().map_or(0, Vec::len))))
}

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    cx.only(Verb::Get)?;
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let missing = || Error::NotFound("eval not found".into());
    let id: EvalId = id.parse().map_err(|_| missing())?;
    match action {
        "" => {
            let with_related = cx.req.query.flag("related", false)?;
            cx.read(
                &[Topic::Eval(id)],
                |s| s.evals.get(&id).map_or(s.tables.evals, |e| e.modify_index),
                |s| {
                    let found = s.evals.get(&id).ok_or_else(missing)?;
                    let related = with_related.then(|| related(s, found));
                    Ok(eval::with_related(found, related).into())
                },
            )
            .await
        }
        "allocations" => {
            let of_eval = |s: &State| {
                let job = s.evals.get(&id).map(|e| e.job.clone());
                let allocs = job.into_iter().flat_map(|key| s.allocs_of_job(&key).cloned().collect::<Vec<_>>());
                allocs.filter(|a| a.eval == id).collect::<Vec<_>>()
            };
            cx.read(
                &[Topic::Allocs],
                |s| newest(of_eval(s).iter().map(|a| a.modify_index), s.tables.allocs),
                |s| {
                    let allocs = of_eval(s);
                    let stubs = allocs.iter().map(|a| alloc::stub(a, s.job_of(a).map(|j| &**j), false, true));
                    Ok(Value::Array(stubs.collect()).into())
                },
            )
            .await
        }
        _ => Err(Error::NoRoute),
    }
}

/// Everything linked to an evaluation by next, previous and blocked, itself left out.
fn related(state: &State, from: &Eval) -> Value {
    let mut seen = BTreeSet::from([from.id]);
    let mut queue = vec![from.id];
    let mut found = Vec::new();
    while let Some(id) = queue.pop() {
        let Some(e) = state.evals.get(&id) else { continue };
        if id != from.id {
            found.push(eval::related(e));
        }
        for next in [e.next, e.previous, e.blocked].into_iter().flatten() {
            if seen.len() < RELATED_MAX && seen.insert(next) {
                queue.push(next);
            }
        }
    }
    Value::Array(found)
}
