//! Draining nodes: which allocations are told to move now, and when a node is empty.
//!
//! Service allocations move a few at a time (`migrate.max_parallel`), batch work is left to finish until the deadline,
//! system allocations go last. At the deadline everything goes.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Alloc, AllocId, Command, Eval, EvalId, JobKey, JobKind, Node, NodeId, State, Timestamp, Trigger, alloc::Transition,
    node::Drain,
};

/// What the drains want now: transitions for allocations, and nodes that are empty. `deadline_came`: some drain's
/// deadline has passed since the last call.
#[must_use]
pub fn decide(
    state: &State,
    draining: &BTreeSet<NodeId>,
    now: Timestamp,
    deadline_came: bool,
    mut new_id: impl FnMut() -> EvalId,
) -> Vec<Command> {
    let mut transitions: BTreeMap<AllocId, Transition> = BTreeMap::new();
    let mut jobs: BTreeSet<JobKey> = BTreeSet::new();
    let mut out = Vec::new();
    // Per job and group: how many more may leave at once.
    let mut budgets: BTreeMap<(JobKey, model::GroupName), u32> = BTreeMap::new();
    for node in draining.iter().filter_map(|id| state.nodes.get(id)) {
        let Some(drain) = &node.drain else { continue };
        if is_empty(state, node, drain) {
            out.push(Command::NodeDrain { node: node.id, drain: None, mark_eligible: false, at: now });
            continue;
        }
        for alloc in leaving(state, node, drain, now, &mut budgets) {
            transitions.insert(alloc.id, Transition { migrate: true, ..Transition::default() });
            jobs.insert(alloc.job.clone());
        }
        // Past the deadline, allocations that were told before and are still there need one more look.
        if deadline_came && drain.force_at.is_some_and(|t| t <= now) {
            let stuck = state.allocs_on_node(node.id).filter(|a| !a.terminal() && a.transition.migrate);
            jobs.extend(stuck.map(|a| a.job.clone()));
        }
    }
    let evals: Vec<_> = jobs
        .into_iter()
        .filter_map(|key| {
            let job = state.job(&key)?;
            Some(Eval::pending(new_id(), key, job.kind, job.priority, Trigger::NodeDrain, now))
        })
        .collect();
    if !evals.is_empty() {
        out.push(Command::AllocTransitions { transitions, evals, at: now });
    }
    out
}

/// The next moment a drain must be looked at even if nothing happens.
#[must_use]
pub fn deadline(state: &State, draining: &BTreeSet<NodeId>, after: Timestamp) -> Option<Timestamp> {
    let nodes = draining.iter().filter_map(|id| state.nodes.get(id));
    nodes.filter_map(|n| n.drain.as_ref()?.force_at).filter(|t| *t > after).min()
}

fn kind(state: &State, alloc: &Alloc) -> JobKind {
    state.job_of(alloc).map_or(JobKind::Service, |j| j.kind)
}

fn concerned<'a>(state: &'a State, node: &Node, drain: &'a Drain) -> impl Iterator<Item = &'a std::sync::Arc<Alloc>> {
    let running = state.allocs_on_node(node.id).filter(|a| !a.client.terminal());
    running.filter(move |a| !(drain.ignore_system_jobs && kind(state, a).per_node()))
}

fn is_empty(state: &State, node: &Node, drain: &Drain) -> bool {
    concerned(state, node, drain).next().is_none()
}

fn leaving<'a>(
    state: &'a State,
    node: &Node,
    drain: &'a Drain,
    now: Timestamp,
    budgets: &mut BTreeMap<(JobKey, model::GroupName), u32>,
) -> Vec<&'a std::sync::Arc<Alloc>> {
    let forced = drain.force_at.is_some_and(|t| t <= now);
    let here: Vec<_> = concerned(state, node, drain).collect();
    let others = here.iter().any(|a| !kind(state, a).per_node());
    let fresh = here.into_iter().filter(|a| !a.terminal() && !a.transition.migrate);
    fresh
        .filter(|a| match kind(state, a) {
            _ if forced => true,
            JobKind::System | JobKind::Sysbatch => !others,
            JobKind::Batch => false,
            JobKind::Service => {
                let key = (a.job.clone(), a.group.clone());
                let left = budgets.entry(key).or_insert_with(|| budget(state, a));
                let may = *left > 0;
                *left = left.saturating_sub(1);
                may
            }
        })
        .collect()
}

/// How many more allocations of a group may move: its limit less those that are moving.
fn budget(state: &State, alloc: &Alloc) -> u32 {
    let limit = state.job_of(alloc).and_then(|j| j.group(&alloc.group)).map_or(1, |g| g.migrate.max_parallel.max(1));
    let moving =
        state.allocs_of_job(&alloc.job).filter(|a| a.group == alloc.group && a.transition.migrate && !a.terminal());
    // A replacement that is not up yet still counts: the one it replaces has just left.
    limit.saturating_sub(u32::try_from(moving.count()).unwrap_or(u32::MAX))
}
