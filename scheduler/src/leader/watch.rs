//! The watcher: what changed between two published states, who must know, and what time it is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use imbl::ordmap::DiffItem;
use model::{Command, DeploymentId, Eval, EvalId, EvalStatus, Node, NodeId, Replica, State, Timestamp, Trigger};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Desk, deployments, drain, gc, lock, now};
use crate::{
    place::feasible,
    queue::{blocked::Blocked, broker::Returned, delayed::Delayed},
};

/// A commit that failed is tried again after this long, if the state still calls for it.
const RETRY: Duration = Duration::from_secs(1);
/// How long an evaluation that failed again and again rests before a new one takes its place.
const AFTER_GIVING_UP: Duration = Duration::from_secs(60);

struct Watcher {
    replica: Arc<dyn Replica>,
    desk: Arc<Desk>,
    seen: Arc<State>,
    delayed: Delayed,
    blocked: Blocked,
    /// Deployments under way, those that changed since they were last looked at, nodes being drained.
    active: BTreeSet<DeploymentId>,
    stirred: BTreeSet<DeploymentId>,
    draining: BTreeSet<NodeId>,
    drains_stirred: bool,
    retry_at: Option<Timestamp>,
    drain_seen: Timestamp,
}

/// Follow the state until cancelled.
pub async fn run(replica: Arc<dyn Replica>, desk: Arc<Desk>, gc_interval: Duration, cancel: CancellationToken) {
    let mut applied = replica.waiters().applied();
    let mut w = Watcher {
        replica,
        desk,
        seen: Arc::new(State::default()),
        delayed: Delayed::default(),
        blocked: Blocked::default(),
        active: BTreeSet::new(),
        stirred: BTreeSet::new(),
        draining: BTreeSet::new(),
        drains_stirred: false,
        retry_at: None,
        drain_seen: Timestamp::ZERO,
    };
    let mut collect = tokio::time::interval(gc_interval);
    collect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    collect.tick().await;
    let desk = Arc::clone(&w.desk);
    loop {
        applied.borrow_and_update();
        w.look();
        w.act().await;
        let sleep = w.next_timer().map(|t| t.since(now()));
        let timer = tokio::time::sleep(sleep.unwrap_or(Duration::from_secs(3600)));
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            () = desk.for_watcher.notified() => {}
            () = timer => {}
            _ = collect.tick() => w.collect().await,
        }
    }
}

impl Watcher {
    /// Take in everything that changed since the last look.
    fn look(&mut self) {
        let state = self.replica.snapshot();
        if state.index == self.seen.index {
            return;
        }
        let before = std::mem::replace(&mut self.seen, Arc::clone(&state));
        self.nodes_changed(&before, &state);
        let freed = freed(&before, &state);
        if !freed.is_empty() {
            let woken = self.blocked.freed(&freed, &state);
            if !woken.is_empty() {
                debug!(evals = woken.len(), nodes = freed.len(), "room was freed");
            }
            self.desk.enqueue(woken);
        }
        self.deployments_changed(&before, &state);
        self.evals_changed(&before, &state);
        let allocs = !before.allocs.ptr_eq(&state.allocs);
        self.drains_stirred |= allocs && !self.draining.is_empty();
    }

    fn evals_changed(&mut self, before: &State, state: &State) {
        if before.evals.ptr_eq(&state.evals) {
            return;
        }
        let at = now();
        for item in before.evals.diff(&state.evals) {
            match item {
                DiffItem::Add(_, eval) | DiffItem::Update { new: (_, eval), .. } => self.eval_changed(eval, state, at),
                DiffItem::Remove(id, _) => self.eval_over(*id),
            }
        }
    }

    fn eval_changed(&mut self, eval: &Arc<Eval>, state: &State, at: Timestamp) {
        match eval.status {
            EvalStatus::Pending if eval.wait_until > at => self.delayed.insert(eval.wait_until, Arc::clone(eval)),
            EvalStatus::Pending => self.desk.enqueue([Arc::clone(eval)]),
            EvalStatus::Blocked => {
                let missed = self.blocked.insert(Arc::clone(eval), state);
                self.desk.enqueue(missed);
            }
            EvalStatus::Complete | EvalStatus::Failed | EvalStatus::Canceled => self.eval_over(eval.id),
        }
    }

    fn eval_over(&mut self, id: EvalId) {
        self.delayed.remove(id);
        self.blocked.remove(id);
        self.desk.forget(id);
    }

    fn nodes_changed(&mut self, before: &State, state: &State) {
        if before.nodes.ptr_eq(&state.nodes) {
            return;
        }
        for item in before.nodes.diff(&state.nodes) {
            match item {
                DiffItem::Add(id, node) | DiffItem::Update { new: (id, node), .. } => {
                    if node.drain.is_some() {
                        self.draining.insert(*id);
                    } else {
                        self.draining.remove(id);
                    }
                }
                DiffItem::Remove(id, _) => {
                    self.draining.remove(id);
                }
            }
        }
        self.drains_stirred = !self.draining.is_empty();
    }

    fn deployments_changed(&mut self, before: &State, state: &State) {
        if before.deployments.ptr_eq(&state.deployments) {
            return;
        }
        for item in before.deployments.diff(&state.deployments) {
            match item {
                DiffItem::Add(id, d) | DiffItem::Update { new: (id, d), .. } if d.status.active() => {
                    self.active.insert(*id);
                    self.stirred.insert(*id);
                }
                DiffItem::Add(id, _) | DiffItem::Update { new: (id, _), .. } | DiffItem::Remove(id, _) => {
                    self.active.remove(id);
                    self.stirred.remove(id);
                }
            }
        }
    }

    /// Do what is due.
    async fn act(&mut self) {
        let at = now();
        self.retry_at = self.retry_at.filter(|t| *t > at);
        let due = self.delayed.due(at);
        self.desk.enqueue(due);
        self.take_back(at);
        self.end_superfluous(at).await;
        self.watch_deployments(at).await;
        self.watch_drains(at).await;
    }

    /// Evaluations whose worker failed or fell silent.
    fn take_back(&mut self, at: Timestamp) {
        let mut returned = std::mem::take(&mut *lock(&self.desk.returned));
        {
            let mut broker = lock(&self.desk.broker);
            let late = broker.expired(at);
            returned.extend(late.into_iter().map(|(id, token)| broker.nack(id, token, at)));
        }
        for r in returned {
            match r {
                Returned::Retry(when, eval) => self.delayed.insert(when, eval),
                Returned::GivenUp(eval) => {
                    warn!(eval = %eval.id, job = ?eval.job, "evaluation given up; a new one follows");
                    lock(&self.desk.superfluous).push(eval);
                }
                Returned::Stale => {}
            }
        }
    }

    /// Record evaluations that end without being worked on: overtaken by a newer one, or given up.
    async fn end_superfluous(&mut self, at: Timestamp) {
        let list = std::mem::take(&mut *lock(&self.desk.superfluous));
        let mut evals = Vec::new();
        for eval in &list {
            let Some(stored) = self.seen.evals.get(&eval.id).filter(|e| !e.status.terminal()) else { continue };
            let overtaken = self.seen.evals_of_job(&eval.job).any(|e| e.create_index > eval.create_index);
            let mut ended = Eval::clone(stored);
            if overtaken {
                ended.status = EvalStatus::Canceled;
                ended.status_description = "overtaken by a newer evaluation of the job".into();
            } else {
                let id = EvalId(uuid::Uuid::new_v4());
                let mut next =
                    Eval::pending(id, ended.job.clone(), ended.kind, ended.priority, Trigger::FailedFollowUp, at);
                next.wait_until = at + AFTER_GIVING_UP;
                next.previous = Some(ended.id);
                ended.status = EvalStatus::Failed;
                ended.status_description = "given up after repeated failures; see the leader's log".into();
                ended.next = Some(id);
                evals.push(next);
            }
            evals.push(ended);
        }
        if !evals.is_empty() && !self.propose(Command::Evals { evals, at }, "evaluations").await {
            lock(&self.desk.superfluous).extend(list);
        }
    }

    async fn watch_deployments(&mut self, at: Timestamp) {
        let state = Arc::clone(&self.seen);
        let late = |id: &&DeploymentId| {
            let id: &DeploymentId = id;
            let d = state.deployments.get(id);
            d.and_then(|d| deployments::deadline(&state, d)).is_some_and(|t| t <= at)
        };
        let mut look: BTreeSet<DeploymentId> = self.active.iter().filter(late).copied().collect();
        look.append(&mut self.stirred);
        for id in look {
            let Some(d) = state.deployments.get(&id) else { continue };
            let Some(command) = deployments::decide(&state, d, EvalId(uuid::Uuid::new_v4()), at) else { continue };
            match &command {
                Command::DeploymentPromote { .. } => {
                    info!(deployment = %id, job = ?d.job, "canaries are healthy: promoting")
                }
                _ => warn!(deployment = %id, job = ?d.job, "deployment failed"),
            }
            if !self.propose(command, "deployment").await {
                self.stirred.insert(id);
            }
        }
    }

    async fn watch_drains(&mut self, at: Timestamp) {
        let due = drain::deadline(&self.seen, &self.draining, self.drain_seen).is_some_and(|t| t <= at);
        if !self.drains_stirred && !due {
            return;
        }
        self.drains_stirred = false;
        let state = Arc::clone(&self.seen);
        self.drain_seen = at;
        for command in drain::decide(&state, &self.draining, at, due, || EvalId(uuid::Uuid::new_v4())) {
            if let Command::NodeDrain { node, .. } = &command {
                info!(node = %node, "drain complete");
            }
            if !self.propose(command, "drain").await {
                self.drains_stirred = true;
            }
        }
    }

    async fn collect(&mut self) {
        let state = self.replica.snapshot();
        let at = now();
        let Ok(command) = tokio::task::spawn_blocking(move || gc::collect(&state, at, false)).await else { return };
        if !gc::is_empty(&command) {
            self.propose(command, "collection").await;
        }
    }

    /// Commit, or say why not and come back in a moment.
    async fn propose(&mut self, command: Command, what: &str) -> bool {
        match self.replica.propose(command).await {
            Ok(_) => true,
            // The state had moved on: the next look decides anew.
            Err(model::ProposeError::Rejected(why)) => {
                debug!(%why, what, "not needed any more");
                true
            }
            Err(error) => {
                warn!(%error, what, "not committed; trying again");
                self.retry_at = Some(now() + RETRY);
                false
            }
        }
    }

    fn next_timer(&self) -> Option<Timestamp> {
        let state = &self.seen;
        let active = self.active.iter().filter_map(|id| state.deployments.get(id));
        let deployment = active.filter_map(|d| deployments::deadline(state, d)).min();
        let drains = drain::deadline(state, &self.draining, self.drain_seen);
        let delivery = lock(&self.desk.broker).next_expiry();
        [self.delayed.next(), deployment, drains, delivery, self.retry_at].into_iter().flatten().min()
    }
}

/// Nodes that can take more, or other things, than before.
fn freed(before: &State, state: &State) -> BTreeSet<NodeId> {
    let mut nodes = BTreeSet::new();
    if !before.nodes.ptr_eq(&state.nodes) {
        for item in before.nodes.diff(&state.nodes) {
            match item {
                DiffItem::Add(id, node) if feasible::open(node).is_ok() => drop(nodes.insert(*id)),
                DiffItem::Update { old: (_, old), new: (id, new) } if better(old, new) => drop(nodes.insert(*id)),
                _ => {}
            }
        }
    }
    if !before.allocs.ptr_eq(&state.allocs) {
        for item in before.allocs.diff(&state.allocs) {
            match item {
                DiffItem::Update { old: (_, old), new: (_, new) }
                    if (old.holds_resources() && !new.holds_resources()) || (!old.terminal() && new.terminal()) =>
                {
                    nodes.insert(new.node);
                }
                DiffItem::Remove(_, old) if old.holds_resources() => drop(nodes.insert(old.node)),
                _ => {}
            }
        }
    }
    nodes
}

fn better(old: &Node, new: &Node) -> bool {
    feasible::open(new).is_ok()
        && (feasible::open(old).is_err()
            || old.resources != new.resources
            || old.attributes != new.attributes
            || old.meta != new.meta
            || old.drivers != new.drivers
            || old.host_volumes != new.host_volumes
            || old.class != new.class)
}
