//! `/v1/event/stream`: what changed, commit by commit, as lines of JSON.
//!
//! There is no event buffer: each stream compares the snapshot it last saw with the newest one, table by table.
//! Persistent maps share what did not change, so that costs what changed. A slow reader skips states in between and
//! still sees every object's newest form. With `index=N` the first lines are all objects newer than N.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream;
use imbl::ordmap::DiffItem;
use model::{Index, Replica, State, alloc::Desired};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    Error,
    read::Context,
    reply::{Payload, Reply},
    request::{Namespaces, Verb},
    seam,
    wire::{alloc, deployment, eval, event, node, service},
};

const HEARTBEAT: Duration = Duration::from_secs(10);
const TOPICS_MAX: usize = 64;
const TOPICS: [&str; 6] = ["Job", "Allocation", "Evaluation", "Deployment", "Node", "Service"];

/// One `topic=Type:key`; `*` stands for all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    topic: String,
    key: String,
}

#[derive(Clone, Debug)]
struct Subscription {
    wanted: Vec<Wanted>,
    spaces: Namespaces,
}

/// One change, not yet filtered.
struct Event {
    topic: &'static str,
    kind: &'static str,
    key: String,
    namespace: String,
    /// Other keys a subscription may name: the job of an allocation, the node of it.
    filter_keys: Vec<String>,
    index: Index,
    /// The object; the wire names it by its topic.
    payload: Value,
}

impl Event {
    fn wire(&self) -> Value {
        event::one(&event::Parts {
            topic: self.topic,
            kind: self.kind,
            key: &self.key,
            namespace: &self.namespace,
            filter_keys: &self.filter_keys,
            index: self.index,
            payload: &self.payload,
        })
    }
}

impl Subscription {
    fn has(&self, e: &Event) -> bool {
        let space = match &self.spaces {
            Namespaces::All => true,
            Namespaces::One(one) => e.namespace.is_empty() || e.namespace == one.as_str(),
        };
        space
            && self.wanted.iter().any(|w| {
                (w.topic == "*" || w.topic == e.topic)
                    && (w.key == "*" || w.key == e.key || e.filter_keys.contains(&w.key))
            })
    }
}

pub fn stream(cx: &Context) -> Result<Reply, Error> {
    cx.only(Verb::Get)?;
    let query = &cx.req.query;
    let mut wanted = Vec::new();
    for text in query.all("topic") {
        let (topic, key) = text.split_once(':').unwrap_or((text, "*"));
        if topic != "*" && !TOPICS.contains(&topic) {
            return Err(Error::BadRequest(format!("invalid topic {topic:?}: Trine streams {TOPICS:?} and \"*\"")));
        }
        if wanted.len() == TOPICS_MAX {
            return Err(Error::BadRequest(format!("more than {TOPICS_MAX} topics")));
        }
        wanted.push(Wanted { topic: topic.to_owned(), key: if key.is_empty() { "*" } else { key }.to_owned() });
    }
    if wanted.is_empty() {
        wanted.push(Wanted { topic: "*".into(), key: "*".into() });
    }
    let after = query.number("index")?.filter(|n| *n > 0);
    let now = cx.snapshot();
    let last = match after {
        // Everything is newer than an empty state; `lines` leaves out what is not newer than `index`.
        Some(n) => Arc::new(State { index: Index(n), ..State::default() }),
        None => now,
    };
    let follower = Follower {
        replica: Arc::clone(&cx.api.replica),
        applied: cx.api.replica.waiters().applied(),
        subscription: Subscription { wanted, spaces: query.namespaces() },
        last,
        greeted: false,
    };
    let lines =
        stream::unfold(follower, |mut f| async move { f.next().await.map(|line| (Ok::<_, Infallible>(line), f)) });
    Ok(Reply::new(Payload::Stream(Body::from_stream(lines))))
}

struct Follower {
    replica: Arc<dyn Replica>,
    applied: watch::Receiver<Index>,
    subscription: Subscription,
    last: Arc<State>,
    greeted: bool,
}

impl Follower {
    /// The next line: events of a newer state, or a heartbeat. `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b"{}\n"));
        }
        let deadline = tokio::time::Instant::now() + HEARTBEAT;
        loop {
            // Marked as seen before looking, so that a change in between wakes the wait below.
            self.applied.borrow_and_update();
            let state = self.replica.snapshot();
            if state.index > self.last.index {
                let line = line(&self.subscription, &self.last, &state);
                self.last = state;
                if let Some(line) = line {
                    return Some(line);
                }
            }
            match tokio::time::timeout_at(deadline, self.applied.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(b"{}\n")),
            }
        }
    }
}

fn line(subscription: &Subscription, old: &State, new: &State) -> Option<Bytes> {
    let mut events = changes(old, new);
    events.retain(|e| e.index > old.index && subscription.has(e));
    if events.is_empty() {
        return None;
    }
    events.sort_by_key(|e| e.index);
    let list: Vec<Value> = events.iter().map(Event::wire).collect();
    let mut text = event::batch(new.index, list).to_string();
    text.push('\n');
    Some(Bytes::from(text))
}

/// Every object that differs between two states, in its newer form.
fn changes(old: &State, new: &State) -> Vec<Event> {
    let mut out = Vec::new();
    jobs(old, new, &mut out);
    work(old, new, &mut out);
    nodes(old, new, &mut out);
    services(old, new, &mut out);
    out
}

fn jobs(old: &State, new: &State, out: &mut Vec<Event>) {
    for item in old.jobs.diff(&new.jobs) {
        let (job, kind, index) = match item {
            DiffItem::Add(_, j) => (j, "JobRegistered", j.modify_index),
            DiffItem::Update { new: (_, j), .. } if j.stop => (j, "JobDeregistered", j.modify_index),
            DiffItem::Update { new: (_, j), .. } => (j, "JobRegistered", j.modify_index),
            DiffItem::Remove(_, j) => (j, "JobDeregistered", new.tables.jobs),
        };
        out.push(Event {
            topic: "Job",
            kind,
            key: job.id.to_string(),
            namespace: job.namespace.to_string(),
            filter_keys: Vec::new(),
            index,
            payload: seam::job_to_json(job),
        });
    }
}

/// Allocations, evaluations and deployments. Their removal by garbage collection is no event.
fn work(old: &State, new: &State, out: &mut Vec<Event>) {
    for item in old.allocs.diff(&new.allocs) {
        let (DiffItem::Add(_, a) | DiffItem::Update { new: (_, a), .. }) = item else { continue };
        let mut filter_keys = vec![a.job.id.to_string(), a.node.to_string()];
        filter_keys.extend(a.deployment.map(|d| d.to_string()));
        let kind = if a.desired == Desired::Run { "AllocationUpdated" } else { "AllocationUpdateDesiredStatus" };
        out.push(Event {
            topic: "Allocation",
            kind,
            key: a.id.to_string(),
            namespace: a.job.namespace.to_string(),
            filter_keys,
            index: a.modify_index,
            payload: alloc::without_job(a, new.job_of(a).map(|j| &**j)),
        });
    }
    for item in old.evals.diff(&new.evals) {
        let (DiffItem::Add(_, e) | DiffItem::Update { new: (_, e), .. }) = item else { continue };
        let mut filter_keys = vec![e.job.id.to_string()];
        filter_keys.extend(e.deployment.map(|d| d.to_string()));
        out.push(Event {
            topic: "Evaluation",
            kind: "EvaluationUpdated",
            key: e.id.to_string(),
            namespace: e.job.namespace.to_string(),
            filter_keys,
            index: e.modify_index,
            payload: eval::full(e),
        });
    }
    for item in old.deployments.diff(&new.deployments) {
        let (DiffItem::Add(_, d) | DiffItem::Update { new: (_, d), .. }) = item else { continue };
        out.push(Event {
            topic: "Deployment",
            kind: "DeploymentStatusUpdate",
            key: d.id.to_string(),
            namespace: d.job.namespace.to_string(),
            filter_keys: vec![d.job.id.to_string()],
            index: d.modify_index,
            payload: deployment::full(d),
        });
    }
}

fn nodes(old: &State, new: &State, out: &mut Vec<Event>) {
    for item in old.nodes.diff(&new.nodes) {
        let (n, kind, index) = match item {
            DiffItem::Add(_, n) => (n, "NodeRegistration", n.modify_index),
            DiffItem::Remove(_, n) => (n, "NodeDeregistration", new.tables.nodes),
            DiffItem::Update { old: (_, o), new: (_, n) } => {
                let kind = if o.drain != n.drain {
                    "NodeDrain"
                } else if o.eligibility != n.eligibility {
                    "NodeEligibility"
                } else {
                    "NodeEvent"
                };
                (n, kind, n.modify_index)
            }
        };
        out.push(Event {
            topic: "Node",
            kind,
            key: n.id.to_string(),
            namespace: String::new(),
            filter_keys: Vec::new(),
            index,
            payload: node::full(n, false),
        });
    }
}

fn services(old: &State, new: &State, out: &mut Vec<Event>) {
    for item in old.services.diff(&new.services) {
        let (before, after) = match item {
            DiffItem::Add(_, e) => (None, Some(e)),
            DiffItem::Remove(_, e) => (Some(e), None),
            DiffItem::Update { old: (_, o), new: (_, n) } => (Some(o), Some(n)),
        };
        for instance in after.into_iter().flat_map(|e| e.instances.values()) {
            push_service(new, instance, "ServiceRegistration", instance.modify_index, out);
        }
        for (key, instance) in before.into_iter().flat_map(|e| &e.instances) {
            if after.is_none_or(|e| !e.instances.contains_key(key)) {
                push_service(old, instance, "ServiceDeregistration", new.tables.services, out);
            }
        }
    }
}

fn push_service(
    state: &State,
    instance: &model::catalog::Instance,
    kind: &'static str,
    index: Index,
    out: &mut Vec<Event>,
) {
    let model::catalog::Source::Alloc(id) = &instance.source else { return };
    let Some(alloc) = state.allocs.get(id) else { return };
    out.push(Event {
        topic: "Service",
        kind,
        key: instance.service.to_string(),
        namespace: alloc.job.namespace.to_string(),
        filter_keys: vec![alloc.job.id.to_string(), instance.id.to_string()],
        index,
        payload: service::registration(instance, alloc, state),
    });
}
