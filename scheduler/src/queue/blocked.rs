//! Evaluations that wait for room, and which of them a change of capacity concerns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{Eval, EvalId, Index, JobKey, NodeId, State};

use crate::place::{cost, feasible, usage::Usage};

/// One per job.
#[derive(Debug, Default)]
pub struct Blocked {
    by_job: BTreeMap<JobKey, Arc<Eval>>,
    jobs: HashMap<EvalId, JobKey>,
    /// When each node last had room freed: an evaluation that was worked on before that has missed it.
    freed: BTreeMap<NodeId, Index>,
}

impl Blocked {
    /// Hold an evaluation. Returns it again when room was freed since the state it was worked on with.
    pub fn insert(&mut self, eval: Arc<Eval>, state: &State) -> Option<Arc<Eval>> {
        let missed: BTreeSet<_> =
            self.freed.iter().filter(|(_, at)| **at > eval.snapshot_index).map(|(n, _)| *n).collect();
        if concerns(&eval, state, &missed) {
            self.remove(eval.id);
            return Some(eval);
        }
        if let Some(old) = self.by_job.insert(eval.job.clone(), Arc::clone(&eval)) {
            self.jobs.remove(&old.id);
        }
        self.jobs.insert(eval.id, eval.job.clone());
        None
    }

    pub fn remove(&mut self, id: EvalId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.by_job.remove(&job);
        }
    }

    /// Room was freed on some nodes: take out the evaluations that may now be placed.
    pub fn freed(&mut self, nodes: &BTreeSet<NodeId>, state: &State) -> Vec<Arc<Eval>> {
        for node in nodes {
            self.freed.insert(*node, state.index);
        }
        self.freed.retain(|n, _| state.nodes.contains_key(n));
        let woken: Vec<_> = self.by_job.values().filter(|e| concerns(e, state, nodes)).cloned().collect();
        for eval in &woken {
            self.remove(eval.id);
        }
        woken
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_job.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_job.is_empty()
    }
}

/// Whether one of the nodes could take one allocation of a group that could not be placed. Ports and distinctness are
/// left to the evaluation itself: a wrong yes costs one look, a wrong no would be a job that waits for ever.
fn concerns(eval: &Eval, state: &State, nodes: &BTreeSet<NodeId>) -> bool {
    let Some(job) = state.job(&eval.job).filter(|j| !j.stop) else { return !nodes.is_empty() };
    let groups = eval.failed_groups.keys().filter_map(|g| job.group(g));
    let groups: Vec<_> = groups.collect();
    // A group that the job no longer has: look again, whatever was freed.
    if groups.is_empty() {
        return !nodes.is_empty();
    }
    nodes.iter().filter_map(|id| state.nodes.get(id)).any(|node| {
        if feasible::in_reach(job, node).is_err() || feasible::open(node).is_err() {
            return false;
        }
        let usage = Usage::of(state, node.id);
        groups.iter().any(|g| {
            // Something of this job that runs here may be replaced in its own room.
            let mine = state.allocs_on_node(node.id).any(|a| a.job == eval.job && !a.terminal());
            feasible::suits(job, g, node).is_ok() && (mine || usage.fits(node, cost(g), 0, None).is_ok())
        })
    })
}
