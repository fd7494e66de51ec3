//! `/v1/search` and `/v1/search/fuzzy`: short ids and names to things.

use std::collections::BTreeMap;

use model::State;
use serde_json::Value;

use super::{
    Error,
    read::Context,
    reply::Reply,
    request::{Namespaces, Verb},
    wire::{body, search},
};

/// Matches per context; more are only announced.
const MATCHES_MAX: usize = 20;
const FUZZY_LENGTH_MIN: usize = 2;
const TEXT_LENGTH_MAX: usize = 256;
/// Contexts that hold something in Trine, in the order of the answer.
const CONTEXTS: [&str; 6] = ["allocs", "deployment", "evals", "jobs", "namespaces", "nodes"];
/// Contexts of Nomad's that are always empty here.
const EMPTY: [&str; 8] =
    ["acl-policies", "host_volumes", "node_pools", "plugins", "quotas", "recommendations", "scaling_policy", "vars"];

pub fn route(cx: &Context, rest: &str) -> Result<Reply, Error> {
    cx.only(Verb::Put)?;
    let body: body::Search = cx.req.body()?;
    let context = body.context.unwrap_or_default();
    let known = CONTEXTS.iter().chain(&EMPTY).chain(&["", "all", "volumes", "groups", "services", "tasks", "images"]);
    if !known.clone().any(|c| *c == context) {
        return Err(Error::BadRequest(format!("context must be one of {CONTEXTS:?} or \"all\"; got {context:?}")));
    }
    let spaces = cx.req.query.namespaces();
    let state = cx.snapshot();
    match rest {
        "" => {
            let prefix = bounded(body.prefix.unwrap_or_default())?;
            Ok(cx.read_now(by_prefix(&state, &spaces, &prefix, &context)))
        }
        "fuzzy" => {
            let text = bounded(body.text.unwrap_or_default())?;
            if text.chars().count() < FUZZY_LENGTH_MIN {
                return Err(Error::BadRequest(format!(
                    "fuzzy search query must be at least {FUZZY_LENGTH_MIN} characters, got {}",
                    text.chars().count()
                )));
            }
            Ok(cx.read_now(fuzzy(&state, &spaces, &text.to_lowercase(), &context)))
        }
        _ => Err(Error::NoRoute),
    }
}

fn bounded(text: String) -> Result<String, Error> {
    if text.len() > TEXT_LENGTH_MAX {
        return Err(Error::BadRequest(format!("the text to look for is longer than {TEXT_LENGTH_MAX} bytes")));
    }
    Ok(text)
}

/// Matches by context, cut at the limit.
#[derive(Default)]
struct Found {
    matches: BTreeMap<&'static str, Vec<Value>>,
    truncated: BTreeMap<&'static str, bool>,
}

impl Found {
    fn put(&mut self, context: &'static str, all: impl Iterator<Item = Value>) {
        let mut list: Vec<Value> = all.take(MATCHES_MAX + 1).collect();
        self.truncated.insert(context, list.len() > MATCHES_MAX);
        list.truncate(MATCHES_MAX);
        self.matches.insert(context, list);
    }

    fn body(self) -> Value {
        search::found(&self.matches, &self.truncated)
    }
}

fn by_prefix(s: &State, spaces: &Namespaces, prefix: &str, context: &str) -> Value {
    let lower = prefix.to_lowercase();
    let id = |id: String| id.starts_with(&lower).then(|| Value::from(id));
    let mut found = Found::default();
    for c in CONTEXTS.into_iter().filter(|c| context.is_empty() || context == "all" || context == *c) {
        match c {
            "allocs" => {
                let mine = s.allocs.values().filter(|a| spaces.has(&a.job.namespace));
                found.put(c, mine.filter_map(|a| id(a.id.to_string())));
            }
            "deployment" => {
                let mine = s.deployments.values().filter(|d| spaces.has(&d.job.namespace));
                found.put(c, mine.filter_map(|d| id(d.id.to_string())));
            }
            "evals" => {
                let mine = s.evals.values().filter(|e| spaces.has(&e.job.namespace));
                found.put(c, mine.filter_map(|e| id(e.id.to_string())));
            }
            "jobs" => {
                let mine = s.jobs.keys().filter(|k| spaces.has(&k.namespace) && k.id.as_str().starts_with(prefix));
                found.put(c, mine.map(|k| Value::from(k.id.as_str())));
            }
            "nodes" => found.put(c, s.nodes.values().filter_map(|n| id(n.id.to_string()))),
            _ => found.put(c, ["default"].into_iter().filter(|n| n.starts_with(prefix)).map(Value::from)),
        }
    }
    found.body()
}

fn fuzzy(s: &State, spaces: &Namespaces, text: &str, context: &str) -> Value {
    let all = context.is_empty() || context == "all";
    let has = |name: &str| name.to_lowercase().contains(text);
    let mut found = Found::default();
    let row = search::row;
    let jobs = || s.jobs.values().filter(|j| spaces.has(&j.namespace));
    if all || context == "jobs" {
        let named = jobs().filter(|j| has(&j.name));
        found.put("jobs", named.map(|j| row(&j.name, vec![j.namespace.to_string(), j.id.to_string()])));
    }
    if all || context == "jobs" || context == "groups" {
        let groups = jobs().flat_map(|j| j.groups.iter().map(move |g| (j, g))).filter(|(_, g)| has(g.name.as_str()));
        found.put("groups", groups.map(|(j, g)| row(g.name.as_str(), vec![j.namespace.to_string(), j.id.to_string()])));
    }
    if all || context == "jobs" || context == "tasks" {
        let groups = jobs().flat_map(|j| j.groups.iter().map(move |g| (j, g)));
        let tasks = groups.flat_map(|(j, g)| g.tasks.iter().map(move |t| (j, g, t)));
        found.put(
            "tasks",
            tasks.filter(|(_, _, t)| has(t.name.as_str())).map(|(j, g, t)| {
                row(t.name.as_str(), vec![j.namespace.to_string(), j.id.to_string(), g.name.to_string()])
            }),
        );
    }
    if all || context == "jobs" || context == "services" {
        let groups = jobs().flat_map(|j| j.groups.iter().map(move |g| (j, g)));
        let services = groups.flat_map(|(j, g)| g.all_services().map(move |v| (j, g, v)));
        found.put(
            "services",
            services
                .filter(|(_, _, v)| has(&v.name))
                .map(|(j, g, v)| row(&v.name, vec![j.namespace.to_string(), j.id.to_string(), g.name.to_string()])),
        );
    }
    if all || context == "nodes" {
        found.put("nodes", s.nodes.values().filter(|n| has(&n.name)).map(|n| row(&n.name, vec![n.id.to_string()])));
    }
    if all || context == "allocs" {
        let named = s.allocs.values().filter(|a| spaces.has(&a.job.namespace) && has(&a.name));
        found.put("allocs", named.map(|a| row(&a.name, vec![a.job.namespace.to_string(), a.id.to_string()])));
    }
    found.body()
}
