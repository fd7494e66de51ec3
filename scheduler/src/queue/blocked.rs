//! Evaluations that wait for room, and which of them a change of capacity concerns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{Eval, EvalId, Index, JobKey, Node, NodeId, State};

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
        if concerns(&eval, state, &look(state, &missed)) {
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
        if self.by_job.is_empty() {
            return Vec::new();
        }
        let room = look(state, nodes);
        let woken: Vec<_> = self.by_job.values().filter(|e| concerns(e, state, &room)).cloned().collect();
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

/// A node with room, and what is taken on it; worked out once for all evaluations that may want it.
struct Freed<'a> {
    node: &'a Node,
    usage: Usage,
}

fn look<'a>(state: &'a State, nodes: &BTreeSet<NodeId>) -> Vec<Freed<'a>> {
    let nodes = nodes.iter().filter_map(|id| state.nodes.get(id)).filter(|n| feasible::open(n).is_ok());
    nodes.map(|node| Freed { node, usage: Usage::of(state, node.id) }).collect()
}

/// Whether one of the nodes could take one allocation of a group that could not be placed. Ports and distinctness are
/// left to the evaluation itself: a wrong yes costs one look, a wrong no would be a job that waits for ever.
fn concerns(eval: &Eval, state: &State, freed: &[Freed<'_>]) -> bool {
    let Some(job) = state.job(&eval.job).filter(|j| !j.stop) else { return !freed.is_empty() };
    let groups: Vec<_> = eval.failed_groups.keys().filter_map(|g| job.group(g)).collect();
    // A group that the job no longer has: look again, whatever was freed.
    if groups.is_empty() {
        return !freed.is_empty();
    }
    freed.iter().any(|Freed { node, usage }| {
        if feasible::in_reach(job, node).is_err() {
            return false;
        }
        groups.iter().filter(|g| feasible::suits(job, g, node).is_ok()).any(|g| {
            // Something of this job that runs here may be replaced in its own room.
            usage.fits(node, cost(g), 0, None).is_ok()
                || state.allocs_on_node(node.id).any(|a| a.job == eval.job && !a.terminal())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{World, web};

    #[test]
    fn only_room_that_could_help_wakes_and_none_is_missed() {
        let mut w = World::new(1);
        let mut big = web(1);
        big.groups[0].tasks[0].resources.memory_mb = 6000;
        w.run(big);
        let eval = w.state.evals.values().find(|e| e.status == model::EvalStatus::Blocked).expect("blocked").clone();
        let mut blocked = Blocked::default();
        assert!(blocked.insert(Arc::clone(&eval), &w.state).is_none());
        // A small node does not help; a large one does.
        w.add(crate::world::node(2));
        let id = |n| NodeId(uuid::Uuid::from_u128(n));
        assert!(blocked.freed(&[id(2)].into(), &w.state).is_empty());
        let mut large = crate::world::node(3);
        large.resources.total.memory_mb = 8000;
        w.add(large);
        assert_eq!(blocked.freed(&[id(3)].into(), &w.state).len(), 1);
        assert!(blocked.is_empty());
        // It comes back worked on with an older state than the one in which the room was freed: not kept.
        assert!(blocked.insert(eval, &w.state).is_some());
        assert!(blocked.is_empty());
    }
}
