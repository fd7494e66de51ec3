//! What the servers say about one allocation, on one snapshot.

use std::sync::Arc;

use model::{Alloc, AllocId, Group, Job, Node, NodeId, State, Timestamp};

/// An allocation with its specification and its node.
#[derive(Clone, Debug)]
pub struct View {
    pub alloc: Arc<Alloc>,
    pub job: Arc<Job>,
    pub node: Arc<Node>,
}

impl View {
    #[must_use]
    pub fn of(state: &State, id: AllocId, node: NodeId) -> Option<Self> {
        let alloc = state.allocs.get(&id)?;
        Some(Self {
            alloc: Arc::clone(alloc),
            job: Arc::clone(state.job_of(alloc)?),
            node: Arc::clone(state.node(node)?),
        })
    }

    #[must_use]
    pub fn group(&self) -> Option<&Group> {
        self.job.group(&self.alloc.group)
    }

    /// The servers want it gone and every load balancer has let go of it, or has had its time.
    #[must_use]
    pub fn may_be_signalled(&self, now: Timestamp) -> bool {
        self.alloc.server_terminal()
            && self.alloc.leaving.as_ref().is_none_or(|l| l.awaiting.is_empty() || now >= l.deadline)
    }

    /// The same to a runner: nothing it acts on differs.
    #[must_use]
    pub fn same_wish(&self, other: &Self) -> bool {
        self.alloc.alloc_modify_index == other.alloc.alloc_modify_index
            && self.alloc.job_version == other.alloc.job_version
            && self.alloc.desired == other.alloc.desired
            && self.alloc.leaving == other.alloc.leaving
            && self.alloc.deployment == other.alloc.deployment
            && self.alloc.health == other.alloc.health
            && self.alloc.transition == other.alloc.transition
            && self.job.version == other.job.version
    }
}
