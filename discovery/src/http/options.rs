//! The parameters every read has: blocking, consistency, filters.

use std::time::Duration;

use model::{Index, filter::Filter};
use rand::RngExt;

use super::{Api, Error, duration, request::Call};

const WAIT_DEFAULT: Duration = Duration::from_secs(300);
const WAIT_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Consistency {
    #[default]
    Default,
    Stale,
    Consistent,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// 0: answer at once.
    pub index: Index,
    pub wait: Duration,
    pub consistency: Consistency,
    pub cached: bool,
    pub filter: Option<Filter>,
    pub tags: Vec<String>,
    pub passing: bool,
    pub node_meta: Vec<(String, String)>,
}

impl Options {
    pub(super) fn read(api: &Api, call: &Call) -> Result<Self, Error> {
        datacenter(api, call)?;
        let bad = |text: &str| Error::BadRequest(text.into());
        let index = match call.get("index").filter(|v| !v.is_empty()) {
            Some(v) => v.parse().map_err(|_| bad("Invalid index"))?,
            None => 0,
        };
        let wait = match call.get("wait").filter(|v| !v.is_empty()) {
            Some(v) => duration::parse(v).ok_or_else(|| bad("Invalid wait time"))?,
            None => Duration::ZERO,
        };
        let filter = match call.get("filter").filter(|v| !v.is_empty()) {
            Some(f) => Some(
                f.parse()
                    .map_err(|e| Error::BadRequest(format!("Failed to create boolean expression evaluator: {e}")))?,
            ),
            None => None,
        };
        if let Some(v) = call.get("max_stale").filter(|v| duration::parse(v).is_none()) {
            return Err(Error::BadRequest(format!("Invalid max_stale value {v:?}")));
        }
        Ok(Self {
            index: Index(index),
            wait: spread(wait),
            consistency: consistency(call)?,
            cached: call.has("cached"),
            filter,
            tags: call.all("tag"),
            passing: passing(call)?,
            node_meta: call
                .all("node-meta")
                .into_iter()
                .map(|pair| pair.split_once(':').map_or((pair.clone(), String::new()), |(k, v)| (k.into(), v.into())))
                .collect(),
        })
    }
}

/// Refuse what other datacenters, namespaces and partitions would have to answer.
pub(super) fn datacenter(api: &Api, call: &Call) -> Result<(), Error> {
    if let Some(dc) = call.get("dc").filter(|dc| !dc.is_empty())
        && !dc.eq_ignore_ascii_case(&api.datacenter)
    {
        return Err(Error::Internal("No path to datacenter".into()));
    }
    for (name, header, what) in
        [("ns", "x-consul-namespace", "Namespaces are"), ("partition", "x-consul-partition", "Partitions are")]
    {
        if call.get(name).is_some_and(|v| !v.is_empty()) {
            return Err(Error::BadRequest(format!(
                "Invalid query parameter: {name:?} - {what} a Consul Enterprise feature"
            )));
        }
        if call.headers.contains_key(header) {
            return Err(Error::BadRequest(format!("Invalid header: {header:?} - {what} a Consul Enterprise feature")));
        }
    }
    Ok(())
}

fn consistency(call: &Call) -> Result<Consistency, Error> {
    let (stale, consistent, cached) = (call.has("stale"), call.has("consistent"), call.has("cached"));
    let conflict =
        |with: &str| Error::BadRequest(format!("Cannot specify ?{with} with ?consistent, conflicting semantics."));
    match (stale, consistent) {
        (true, true) => Err(conflict("stale")),
        (_, true) if cached => Err(conflict("cached")),
        (_, true) => Ok(Consistency::Consistent),
        (true, _) => Ok(Consistency::Stale),
        _ => Ok(Consistency::Default),
    }
}

fn passing(call: &Call) -> Result<bool, Error> {
    match call.get("passing") {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Error::BadRequest("Invalid value for ?passing".into())),
    }
}

/// Bounded, and a little longer than asked, so that many waiters do not come back together.
fn spread(wait: Duration) -> Duration {
    let wait = if wait.is_zero() { WAIT_DEFAULT } else { wait.min(WAIT_MAX) };
    wait + wait.mul_f64(rand::rng().random_range(0.0..1.0 / 16.0))
}
