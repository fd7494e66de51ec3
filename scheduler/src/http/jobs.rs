//! `/v1/jobs`, `/v1/jobs/parse`, `/v1/jobs/statuses` and `/v1/validate/job`.

use std::sync::Arc;

use model::{Index, Job, JobKey, Namespace, State, Topic};

use super::{
    Error, job_write,
    read::{Context, Key, Listing, newest},
    reply::Reply,
    request::Verb,
    seam,
    wire::{answer, body, summary},
};

/// Jobs a `statuses` request may name.
const STATUSES_MAX: usize = 10_000;

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    match (rest, cx.req.verb) {
        ("", Verb::Get) => list(cx).await,
        ("", Verb::Put) => job_write::register(cx, None).await,
        ("parse", Verb::Put) => parse(cx).await,
        ("statuses", Verb::Get | Verb::Put) => statuses(cx).await,
        ("" | "parse" | "statuses", _) => Err(Error::Method),
        _ => Err(Error::NoRoute),
    }
}

async fn list(cx: &Context) -> Result<Reply, Error> {
    let query = &cx.req.query;
    let (listing, spaces) = (Listing::of(query)?, query.namespaces());
    let prefix = query.given("prefix").unwrap_or("");
    let meta = query.flag("meta", false)?;
    cx.read(
        &[Topic::Jobs, Topic::Allocs, Topic::Evals],
        // The summary inside each stub counts allocations, and what evaluations have queued.
        |s| s.tables.jobs.max(s.tables.allocs).max(s.tables.evals),
        |s| {
            let jobs = s.jobs.iter().filter(|(k, _)| spaces.has(&k.namespace) && k.id.as_str().starts_with(prefix));
            listing.page(jobs.map(|(k, j)| (job_place(k), j)), |j| seam::job_to_json(j), |j| summary::stub(s, j, meta))
        },
    )
    .await
}

fn job_place(key: &JobKey) -> Key {
    Key(0, format!("{}.{}", key.namespace, key.id))
}

async fn parse(cx: &Context) -> Result<Reply, Error> {
    let body: body::Parse = cx.req.body()?;
    let source = body.source.unwrap_or_default();
    if source.trim().is_empty() {
        return Err(Error::BadRequest("Job spec is empty".into()));
    }
    let job = seam::parse(source, body.variables.unwrap_or_default()).await?;
    Ok(Reply::json(seam::job_to_json(&job)))
}

/// `PUT /v1/validate/job`: the answer is 200 whatever the verdict, except for a request without a job.
pub fn validate(cx: &Context) -> Result<Reply, Error> {
    cx.only(Verb::Put)?;
    let body: body::Register = cx.req.body()?;
    let job = job_write::job_in(cx, body.job.as_ref(), None)?;
    let (errors, warnings) = match seam::validate(&job) {
        Ok(warnings) => (Vec::new(), warnings),
        Err(errors) => (errors, Vec::new()),
    };
    Ok(Reply::json(answer::validated(&errors, &warnings)))
}

async fn statuses(cx: &Context) -> Result<Reply, Error> {
    let query = &cx.req.query;
    let (listing, spaces) = (Listing::of(query)?, query.namespaces());
    let prefix = query.given("prefix").unwrap_or("");
    let named = match cx.req.verb {
        Verb::Put => named_jobs(cx.req.body_or_default()?)?,
        _ => None,
    };
    let chosen = |s: &State| -> Vec<Arc<Job>> {
        match &named {
            Some(keys) => keys.iter().filter_map(|k| s.job(k)).cloned().collect(),
            None => {
                let all = s.jobs.iter().filter(|(k, _)| spaces.has(&k.namespace) && k.id.as_str().starts_with(prefix));
                all.map(|(_, j)| Arc::clone(j)).collect()
            }
        }
    };
    cx.read(
        &[Topic::Jobs, Topic::Allocs, Topic::Deployments],
        |s| {
            let jobs = chosen(s);
            newest(jobs.iter().map(|j| Index(summary::watch_index(s, &j.key(), j))), s.tables.jobs)
        },
        |s| {
            let rows = chosen(s).into_iter().map(|j| {
                let at = summary::watch_index(s, &j.key(), &j);
                (Key(at, format!("{}.{}", j.namespace, j.id)), j)
            });
            listing.page(rows, |j| seam::job_to_json(j), |j| summary::status(s, j))
        },
    )
    .await
}

fn named_jobs(body: body::Statuses) -> Result<Option<Vec<JobKey>>, Error> {
    let Some(list) = body.jobs.filter(|l| !l.is_empty()) else { return Ok(None) };
    if list.len() > STATUSES_MAX {
        return Err(Error::BadRequest(format!("more than {STATUSES_MAX} jobs in one request")));
    }
    let key = |of: body::StatusOf| {
        let namespace = of.namespace.filter(|n| !n.is_empty()).map_or_else(Namespace::default, Namespace::from);
        JobKey::new(namespace, of.id)
    };
    Ok(Some(list.into_iter().map(key).collect()))
}
