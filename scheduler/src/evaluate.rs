//! Evaluating: the one entry from "look at this job" to "change this". Pure: the same state, evaluation and time give the
//! same plan, byte for byte.
//!
//! ```text
//!  (State, Eval, now) ─► reconcile: wishes ─► place: nodes and ports ─► Evaluated { plan, evals }
//! ```

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Alloc, Desired, Eval, EvalStatus, Group, NodeId, Plan, State, Timestamp, Trigger,
    deployment::DeploymentStatus,
    id::{GroupName, Index},
    metric::AllocMetric,
    plan::StopAlloc,
};

pub mod dice;
#[cfg(test)]
mod tests;

use crate::{
    place::{self, Ask, Placer, Spot},
    reconcile::{self, Cause, Outcome, Placement, Room, Scene, words},
};
use dice::Dice;

/// What an evaluation came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    pub plan: Plan,
    /// The worked evaluation in its final form, then those it makes or ends.
    pub evals: Vec<Eval>,
}

/// Work on one evaluation.
#[must_use]
pub fn evaluate(state: &State, eval: &Eval, now: Timestamp) -> Evaluated {
    let mut dice = Dice::new(eval, state.index);
    let Some(job) = state.job(&eval.job) else { return forgotten_job(state, eval, now) };
    let deployment = state
        .latest_deployment(&eval.job)
        .filter(|d| d.job_version == job.version && d.job_create_index == job.create_index)
        .cloned();
    let scene = Scene { state, job, eval, now, deployment };
    let mut placer = Placer::new(state, job, dice.clone());
    let mut suits =
        |group: &Group, node: NodeId| state.nodes.get(&node).is_some_and(|n| placer.still_suits(job, group, n));
    let mut out = reconcile::reconcile(&scene, &mut dice, &mut suits);
    if job.kind.per_node() && !job.stop && !job.is_template() {
        let open = placer.nodes().to_vec();
        let mut suits =
            |group: &Group, node: NodeId| state.nodes.get(&node).is_some_and(|n| placer.still_suits(job, group, n));
        reconcile::system::reconcile(&scene, &open, &mut dice, &mut suits, &mut out);
    }
    // The placer draws on, so that ids made so far and ids to come differ.
    placer.dice = dice;
    Realise {
        scene,
        placer,
        plan: Plan::empty(eval.id, eval.priority, state.index),
        failed: BTreeMap::new(),
        queued: BTreeMap::new(),
    }
    .run(out)
}

/// The job was purged: whatever is left of it stops.
fn forgotten_job(state: &State, eval: &Eval, now: Timestamp) -> Evaluated {
    let mut out = Outcome::default();
    reconcile::stop_all(state, state.allocs_of_job(&eval.job), words::JOB_STOPPED, &mut out);
    let mut plan = Plan::empty(eval.id, eval.priority, state.index);
    for d in state.deployments_of_job(&eval.job).filter(|d| d.status.active()) {
        plan.deployment_changes.push(model::plan::DeploymentChange {
            id: d.id,
            status: DeploymentStatus::Cancelled,
            description: model::deployment::description::STOPPED_JOB.into(),
        });
    }
    plan.stops = out.stops;
    plan.changes = out.changes;
    let mut evals = vec![finished(eval, state.index, now)];
    evals.extend(superseded(state, eval, now));
    Evaluated { plan, evals }
}

fn finished(eval: &Eval, snapshot: Index, now: Timestamp) -> Eval {
    Eval {
        status: EvalStatus::Complete,
        status_description: String::new(),
        failed_groups: BTreeMap::new(),
        queued: BTreeMap::new(),
        snapshot_index: snapshot,
        modified_at: now,
        ..eval.clone()
    }
}

/// Other blocked evaluations of the job, which have nothing left to wait for.
fn superseded<'a>(state: &'a State, eval: &Eval, now: Timestamp) -> impl Iterator<Item = Eval> + use<'a> {
    let (id, words) = (eval.id, format!("superseded by evaluation {}", eval.id));
    let blocked = state.evals_of_job(&eval.job).filter(move |e| e.status == EvalStatus::Blocked && e.id != id);
    blocked.map(move |e| Eval {
        status: EvalStatus::Canceled,
        status_description: words.clone(),
        modified_at: now,
        ..Eval::clone(e)
    })
}

/// Turning wishes into a plan.
struct Realise<'a> {
    scene: Scene<'a>,
    placer: Placer<'a>,
    plan: Plan,
    failed: BTreeMap<GroupName, AllocMetric>,
    queued: BTreeMap<GroupName, u32>,
}

impl<'a> Realise<'a> {
    fn run(mut self, out: Outcome) -> Evaluated {
        let Outcome { stops, updates, places, deployment, deployment_changes, followups, changes } = out;
        self.plan.all_at_once = self.scene.job.all_at_once;
        self.plan.updates = updates;
        self.plan.deployment = deployment;
        self.plan.deployment_changes = deployment_changes;
        self.plan.changes = changes;
        for stop in stops {
            if let Some(alloc) = self.scene.state.allocs.get(&stop.id) {
                self.placer.leave(alloc);
            }
            self.plan.stops.push(stop);
        }
        for group in &self.scene.job.groups {
            self.queued.insert(group.name.clone(), 0);
        }
        for placement in places {
            self.place(&placement);
        }
        self.explain_nowhere();
        let evals = self.evals(followups);
        Evaluated { plan: self.plan, evals }
    }

    fn place(&mut self, p: &Placement) {
        let Some(group) = p.job.group(&p.group) else { return };
        // A group that failed once fails again: fold, instead of searching every node once more. A replacement that
        // may take its predecessor's room is another matter.
        let again = matches!(p.room, Room::Free) && p.node.is_none() && p.avoid.is_empty();
        if let Some(metric) = self.failed.get_mut(&p.group).filter(|_| again) {
            metric.coalesced_failures += 1;
            *self.queued.entry(p.group.clone()).or_default() += 1;
            return;
        }
        let mut ask = Ask { job: &p.job, group, from: None, avoid: p.avoid.clone(), prefer: sticky(p, group) };
        let incumbent = match &p.room {
            Room::Free => None,
            Room::Beside(old) => {
                if let Ok(spot) = self.find(&ask, p.node) {
                    self.take(p, group, spot, None);
                    return;
                }
                Some(old)
            }
            Room::Takes(old) => Some(old),
        };
        ask.from = incumbent.map(|a| &**a);
        match self.find(&ask, p.node) {
            Ok(spot) => self.take(p, group, spot, incumbent),
            Err((full, metric)) => self.refused(p, full, *metric),
        }
    }

    fn find(&mut self, ask: &Ask<'_>, node: Option<NodeId>) -> Result<Spot<'a>, (bool, Box<AllocMetric>)> {
        let Some(id) = node else { return self.placer.place(ask).map_err(|m| (true, m)) };
        match self.placer.nodes().iter().find(|n| n.id == id).copied() {
            Some(node) => self.placer.place_on(ask, node).map_err(|r| (r.full, Box::new(r.metric))),
            None => Err((false, Box::default())),
        }
    }

    fn take(&mut self, p: &Placement, group: &Group, spot: Spot<'_>, incumbent: Option<&Arc<Alloc>>) {
        if let Some(old) = incumbent {
            let why = match p.cause {
                Cause::Migrate => words::MIGRATING,
                Cause::Reschedule => words::RESCHEDULED,
                Cause::Lost => words::LOST,
                _ => words::UPDATING,
            };
            self.stop(old, why);
        }
        if let Some(previous) = p.previous.as_ref().filter(|a| a.client.terminal() && !a.server_terminal()) {
            let why = if p.cause == Cause::Update { words::UPDATING } else { words::RESCHEDULED };
            self.stop(previous, why);
        }
        let alloc = self.alloc(p, group, spot, incumbent);
        self.placer.take(&alloc, incumbent.map(|a| &**a));
        self.plan.places.push(alloc);
    }

    fn alloc(&mut self, p: &Placement, group: &Group, spot: Spot<'_>, incumbent: Option<&Arc<Alloc>>) -> Alloc {
        // The link must name the allocation whose room is taken: its client waits for that one to end.
        let previous = incumbent.or(p.previous.as_ref()).map(|a| a.id);
        let id = self.placer.dice.alloc();
        Alloc {
            resources: spot.resources,
            metric: Arc::new(spot.metric),
            deployment: p.deployment,
            canary: p.cause == Cause::Canary,
            previous,
            reschedules: p.reschedules.clone(),
            created_at: self.scene.now,
            modified_at: self.scene.now,
            ..Alloc::placed(id, self.scene.eval.id, spot.node, &p.job, &group.name, p.slot)
        }
    }

    fn stop(&mut self, alloc: &Alloc, why: &str) {
        self.placer.leave(alloc);
        if self.plan.stops.iter().any(|s| s.id == alloc.id) {
            return;
        }
        self.plan.stops.push(StopAlloc {
            id: alloc.id,
            desired: Desired::Stop,
            description: why.to_owned(),
            client: None,
            followup_eval: None,
        });
    }

    /// No node takes it. What runs goes on running, unless it was told to leave.
    fn refused(&mut self, p: &Placement, full: bool, metric: AllocMetric) {
        if let (true, Room::Beside(old) | Room::Takes(old)) = (p.stop_anyway, &p.room) {
            self.stop(old, words::MIGRATING);
        }
        if !full {
            return;
        }
        *self.queued.entry(p.group.clone()).or_default() += 1;
        match self.failed.get_mut(&p.group) {
            None => {
                self.failed.insert(p.group.clone(), metric);
            }
            // Every node of a system job is its own attempt and its own reason.
            Some(sum) if p.node.is_some() => place::merge(sum, metric),
            Some(sum) => sum.coalesced_failures += 1,
        }
    }

    /// A system job that suits no node at all says why, instead of succeeding with nothing.
    fn explain_nowhere(&mut self) {
        let job = self.scene.job;
        if !job.kind.per_node() || job.stop || job.is_template() {
            return;
        }
        for group in &job.groups {
            let lives = |a: &&Arc<Alloc>| a.group == group.name && !a.server_terminal();
            let placed = self.plan.places.iter().any(|a| a.group == group.name);
            if placed
                || self.failed.contains_key(&group.name)
                || self.scene.state.allocs_of_job(&job.key()).any(|a| lives(&a))
            {
                continue;
            }
            let ask = Ask { job, group, from: None, avoid: Default::default(), prefer: None };
            if let Err(metric) = self.placer.place(&ask) {
                self.failed.insert(group.name.clone(), *metric);
            }
        }
    }

    /// The worked evaluation in its final form, and the one that waits for room.
    fn evals(&mut self, followups: Vec<Eval>) -> Vec<Eval> {
        let (state, eval, now) = (self.scene.state, self.scene.eval, self.scene.now);
        let mut done = finished(eval, state.index, now);
        done.queued = std::mem::take(&mut self.queued);
        done.failed_groups = std::mem::take(&mut self.failed);
        if let Some(d) = &self.plan.deployment {
            done.deployment = Some(d.id);
        }
        let mut evals = Vec::new();
        if done.failed_groups.is_empty() {
            evals.push(done);
            evals.extend(superseded(state, eval, now));
        } else if eval.status == EvalStatus::Blocked {
            // Looked at again, and still no room: the same evaluation goes on waiting.
            done.status = EvalStatus::Blocked;
            evals.push(done);
            evals.extend(superseded(state, eval, now));
        } else {
            let blocked = self.blocked(&done);
            done.blocked = Some(blocked.id);
            evals.push(done);
            evals.extend(superseded(state, eval, now).filter(|e| e.id != blocked.id));
            evals.push(blocked);
        }
        evals.extend(followups);
        evals
    }

    /// The job's blocked evaluation: the one it has, brought up to date, or a new one.
    fn blocked(&mut self, done: &Eval) -> Eval {
        let (state, eval, now) = (self.scene.state, self.scene.eval, self.scene.now);
        let old = state.evals_of_job(&eval.job).find(|e| e.status == EvalStatus::Blocked);
        let mut blocked = old.map_or_else(
            || {
                let id = self.placer.dice.eval();
                let mut e =
                    Eval::pending(id, eval.job.clone(), self.scene.job.kind, eval.priority, Trigger::QueuedAllocs, now);
                e.previous = Some(eval.id);
                e
            },
            |e| Eval::clone(e),
        );
        blocked.status = EvalStatus::Blocked;
        blocked.status_description = "waits for room: placement failures listed on the evaluation".into();
        blocked.priority = self.scene.job.priority;
        blocked.failed_groups.clone_from(&done.failed_groups);
        blocked.queued.clone_from(&done.queued);
        blocked.snapshot_index = state.index;
        blocked.modified_at = now;
        blocked
    }
}

/// A disk that is to stay with its allocation asks for the node it was on.
fn sticky(p: &Placement, group: &Group) -> Option<NodeId> {
    let keeps = group.disk.sticky && p.cause != Cause::Migrate;
    p.previous.as_ref().filter(|_| keeps).map(|a| a.node)
}
