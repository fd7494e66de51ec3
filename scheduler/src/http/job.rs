//! `/v1/job/<id>…`: routing by suffix, since ids contain slashes, and the reads of one job.

use model::{Index, Job, JobKey, State, Topic};
use serde_json::Value;

use super::{
    Error, job_change, job_write,
    read::{Context, newest},
    reply::Reply,
    request::{Verb, decode},
    seam, services,
    wire::{alloc, deployment, eval, summary},
};

/// What may follow a job's id. An id that itself ends in one of these must be sent percent-encoded.
const SUFFIXES: [&str; 19] = [
    "allocations",
    "evaluations",
    "deployments",
    "deployment",
    "summary",
    "versions",
    "services",
    "submission",
    "scale",
    "plan",
    "evaluate",
    "revert",
    "stable",
    "dispatch",
    "dispatch/payload",
    "periodic/force",
    "actions",
    "action",
    "tag",
];

pub async fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    let (raw, suffix) = split(rest);
    let id = decode(raw)?;
    if id.is_empty() {
        return Err(Error::BadRequest("Missing job ID".into()));
    }
    let key = JobKey::new(cx.req.query.namespaces().one(), id);
    match (suffix, cx.req.verb) {
        ("", Verb::Get) => one(cx, &key, |_, j| seam::job_to_json(j)).await,
        ("", Verb::Put) => job_write::register(cx, Some(&key)).await,
        ("", Verb::Delete) => job_change::deregister(cx, &key).await,
        ("allocations", Verb::Get) => allocations(cx, &key).await,
        ("evaluations", Verb::Get) => evaluations(cx, &key).await,
        ("deployments", Verb::Get) => deployments(cx, &key).await,
        ("deployment", Verb::Get) => latest_deployment(cx, &key).await,
        ("summary", Verb::Get) => job_summary(cx, &key).await,
        ("versions", Verb::Get) => versions(cx, &key).await,
        ("services", Verb::Get) => services::of_job(cx, &key).await,
        ("submission", Verb::Get) => submission(cx, &key),
        ("scale", Verb::Get) => scale(cx, &key).await,
        ("scale", Verb::Put) => job_change::scale(cx, &key).await,
        ("plan", Verb::Put) => job_write::plan(cx, &key),
        ("evaluate", Verb::Put) => job_change::evaluate(cx, &key).await,
        ("revert", Verb::Put) => job_change::revert(cx, &key).await,
        ("stable", Verb::Put) => job_change::stable(cx, &key).await,
        ("actions", Verb::Get) => {
            found(&cx.snapshot(), &key)?;
            Ok(cx.read_now(Value::Array(Vec::new())))
        }
        ("dispatch" | "dispatch/payload", Verb::Put) => Err(Error::NotBuilt("dispatching parameterized jobs".into())),
        ("periodic/force", Verb::Put) => Err(Error::NotBuilt("running periodic jobs".into())),
        ("action", Verb::Get) => Err(Error::NotBuilt("running job actions".into())),
        ("tag", Verb::Put | Verb::Delete) => Err(Error::NotBuilt("tagging job versions".into())),
        _ => Err(Error::Method),
    }
}

/// The raw id and the suffix, the longest that fits.
fn split(rest: &str) -> (&str, &str) {
    let fits = |suffix: &&str| rest.strip_suffix(suffix).and_then(|r| r.strip_suffix('/')).filter(|r| !r.is_empty());
    let longest = SUFFIXES.iter().filter(|s| fits(s).is_some()).max_by_key(|s| s.len());
    match longest {
        // `<id>/versions/<name>/tag`
        Some(s @ &"tag") => {
            match fits(s).and_then(|id| id.rsplit_once('/')).and_then(|(id, _)| id.strip_suffix("/versions")) {
                Some(id) => (id, s),
                None => (rest, ""),
            }
        }
        Some(s) => (fits(s).unwrap_or(rest), s),
        None => (rest, ""),
    }
}

/// The job, or the 404 that clients match on.
pub fn found<'a>(state: &'a State, key: &JobKey) -> Result<&'a std::sync::Arc<Job>, Error> {
    state.job(key).ok_or_else(|| Error::NotFound("job not found".into()))
}

/// A read that watches the job itself.
async fn one(cx: &Context, key: &JobKey, view: impl Fn(&State, &Job) -> Value) -> Result<Reply, Error> {
    cx.read(
        &[Topic::Job(key.id.clone())],
        |s| s.job(key).map_or(s.tables.jobs, |j| j.modify_index),
        |s| Ok(view(s, found(s, key)?).into()),
    )
    .await
}

async fn job_summary(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    cx.read(
        &[Topic::Job(key.id.clone()), Topic::JobAllocs(key.id.clone()), Topic::Evals],
        |s| s.job(key).map_or(s.tables.jobs, |j| Index(summary::summary_index(s, key, j))),
        |s| Ok(summary::summary(s, found(s, key)?).into()),
    )
    .await
}

async fn scale(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    cx.read(
        &[Topic::Job(key.id.clone()), Topic::JobAllocs(key.id.clone())],
        |s| s.job(key).map_or(s.tables.jobs, |j| Index(summary::watch_index(s, key, j))),
        |s| Ok(summary::scale(s, found(s, key)?).into()),
    )
    .await
}

async fn allocations(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    cx.req.query.flag("all", false)?;
    cx.read(
        &[Topic::JobAllocs(key.id.clone())],
        |s| newest(s.allocs_of_job(key).map(|a| a.modify_index), s.tables.allocs),
        |s| {
            let mut all: Vec<_> = s.allocs_of_job(key).collect();
            all.sort_by_key(|a| (a.create_index, a.id));
            let stubs = all.iter().map(|a| alloc::stub(a, s.job_of(a).map(|j| &**j), false, true));
            Ok(Value::Array(stubs.collect()).into())
        },
    )
    .await
}

async fn evaluations(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    cx.read(
        &[Topic::Evals],
        |s| newest(s.evals_of_job(key).map(|e| e.modify_index), s.tables.evals),
        |s| {
            let mut all: Vec<_> = s.evals_of_job(key).collect();
            all.sort_by_key(|e| std::cmp::Reverse((e.create_index, e.id)));
            Ok(Value::Array(all.iter().map(|e| eval::full(e)).collect()).into())
        },
    )
    .await
}

async fn deployments(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let all = cx.req.query.flag("all", false)?;
    cx.read(
        &[Topic::Job(key.id.clone()), Topic::Deployments],
        |s| newest(s.deployments_of_job(key).map(|d| d.modify_index), s.tables.deployments),
        |s| {
            // Deployments of a purged namesake are history only.
            let born = s.job(key).map(|j| j.create_index);
            let mut some: Vec<_> =
                s.deployments_of_job(key).filter(|d| all || born.is_none_or(|b| d.job_create_index == b)).collect();
            some.sort_by_key(|d| std::cmp::Reverse((d.create_index, d.id)));
            Ok(Value::Array(some.iter().map(|d| deployment::full(d)).collect()).into())
        },
    )
    .await
}

async fn latest_deployment(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    cx.read(
        &[Topic::Job(key.id.clone()), Topic::Deployments],
        |s| s.latest_deployment(key).map_or(s.tables.deployments, |d| d.modify_index),
        |s| Ok(s.latest_deployment(key).map_or(Value::Null, |d| deployment::full(d)).into()),
    )
    .await
}

async fn versions(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let query = &cx.req.query;
    if query.given("diff_tag").is_some() {
        return Err(Error::NotBuilt("comparing with a tagged version".into()));
    }
    let (diffs, against) = (query.flag("diffs", false)?, query.number("diff_version")?);
    cx.read(
        &[Topic::Job(key.id.clone())],
        |s| s.job(key).map_or(s.tables.jobs, |j| j.modify_index),
        |s| {
            let history = s.job_history(key);
            if history.is_empty() || s.job(key).is_none() {
                return Err(Error::NotFound("job versions not found".into()));
            }
            let versions: Vec<Value> = history.iter().map(|j| seam::job_to_json(j)).collect();
            let changes = match (diffs, against) {
                (false, _) => None,
                (true, None) => Some(history.windows(2).map(|pair| seam::diff(Some(&pair[1]), &pair[0])).collect()),
                (true, Some(version)) => {
                    let base = history.iter().find(|j| j.version == version);
                    let base = base.ok_or_else(|| Error::NotFound(format!("version {version} not found")))?;
                    let others = history.iter().filter(|j| j.version != version);
                    Some(others.map(|j| seam::diff(Some(base), j)).collect())
                }
            };
            Ok(summary::versions(versions, changes).into())
        },
    )
    .await
}

fn submission(cx: &Context, key: &JobKey) -> Result<Reply, Error> {
    let version =
        cx.req.query.number("version")?.ok_or_else(|| {
            Error::BadRequest("unable to parse job submission version parameter: it is required".into())
        })?;
    let state = cx.snapshot();
    let missing = || Error::NotFound("job submission not found".into());
    let job = state.job_version(key, version).ok_or_else(missing)?;
    let source = job.source.as_deref().ok_or_else(missing)?;
    let body = summary::submission(job, source);
    Ok(Reply::json(body).read_at(job.modify_index, &*cx.api.replica))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn ids_may_hold_slashes_and_end_like_suffixes() {
        for (rest, id, suffix) in [
            ("web", "web", ""),
            ("web/plan", "web", "plan"),
            ("a/b/c", "a/b/c", ""),
            ("a/b/allocations", "a/b", "allocations"),
            ("plan", "plan", ""),
            ("plan/plan", "plan", "plan"),
            ("a%2Fplan", "a%2Fplan", ""),
            ("cron/periodic/force", "cron", "periodic/force"),
            ("x/dispatch/payload", "x", "dispatch/payload"),
            ("x/versions/gold/tag", "x", "tag"),
            ("x/tag", "x/tag", ""),
            ("a/deployment", "a", "deployment"),
        ] {
            assert_eq!(split(rest), (id, suffix), "{rest}");
        }
    }
}
