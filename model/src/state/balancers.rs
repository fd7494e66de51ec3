//! Load balancers and the leaving handshake: who must let go before a task is signalled.

use serde::{Deserialize, Serialize};

use super::Tx;
use crate::{
    alloc::Alloc,
    command::{Rejected, Reply},
    id::{AllocId, Index, LbId},
    topic::Topic,
};

/// A load balancer that follows the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Name of the agent it runs in.
    pub node: String,
    pub since: Index,
}

impl Tx {
    pub(super) fn lb_register(&mut self, id: LbId, node: String) -> Result<Reply, Rejected> {
        if !self.s.balancers.contains_key(&id) {
            self.s.balancers.insert(id, LoadBalancer { node, since: self.index });
            self.touch(Topic::LoadBalancers);
        }
        Ok(Reply::Done)
    }

    pub(super) fn lb_deregister(&mut self, id: LbId) -> Result<Reply, Rejected> {
        self.s.balancers.remove(&id);
        self.touch(Topic::LoadBalancers);
        let waiting: Vec<_> = self
            .s
            .allocs
            .values()
            .filter(|a| a.leaving.as_ref().is_some_and(|l| l.awaiting.contains(&id)))
            .map(|a| a.id)
            .collect();
        self.lb_drained(id, &waiting)
    }

    pub(super) fn lb_drained(&mut self, id: LbId, allocs: &[AllocId]) -> Result<Reply, Rejected> {
        for alloc_id in allocs {
            let Some(old) = self.s.allocs.get(alloc_id) else { continue };
            let mut alloc = Alloc::clone(old);
            let Some(leaving) = &mut alloc.leaving else { continue };
            if leaving.awaiting.remove(&id) {
                alloc.alloc_modify_index = self.index;
                self.put_alloc(alloc);
            }
        }
        self.touch(Topic::LoadBalancers);
        Ok(Reply::Done)
    }
}
