//! Allocations: what clients report, what operators wish, and the indexes and services that follow.

use std::{collections::BTreeMap, sync::Arc};

use super::Tx;
use crate::{
    alloc::{Alloc, AllocHealth, AllocReport, ClientStatus, Desired, Leaving, Transition},
    command::{Rejected, Reply},
    eval::{Eval, Trigger},
    id::AllocId,
    job::JobStatus,
    time::Timestamp,
    topic::Topic,
};

impl Tx {
    pub(super) fn alloc_reports(&mut self, reports: Vec<AllocReport>, at: Timestamp) -> Result<Reply, Rejected> {
        for report in reports {
            // An allocation that was collected meanwhile: its client will learn so from its own stream.
            if let Some(old) = self.s.allocs.get(&report.id).cloned() {
                self.alloc_report(&old, report, at);
            }
        }
        Ok(Reply::Done)
    }

    fn alloc_report(&mut self, old: &Alloc, report: AllocReport, at: Timestamp) {
        // A late report of life does not raise the dead: the servers have already replaced it.
        if old.client == ClientStatus::Lost {
            return;
        }
        let mut alloc = old.clone();
        alloc.client = report.client;
        alloc.client_description = report.client_description;
        alloc.tasks = report.tasks;
        alloc.checks = report.checks;
        if let Some(healthy) = report.healthy.filter(|h| old.health.is_none_or(|o| o.healthy != *h)) {
            alloc.health = Some(AllocHealth { healthy, at, modify_index: self.index });
        }
        alloc.modified_at = at;
        let ended = alloc.client.terminal() && !old.client.terminal();
        let key = alloc.job.clone();
        let wants_look = ended
            && alloc.desired == Desired::Run
            && self.s.jobs.get(&key).is_some_and(|j| j.status != JobStatus::Dead || !j.stop);
        let health_moved = alloc.health != old.health;
        self.put_alloc(alloc.clone());
        if health_moved {
            self.deployment_saw_health(old, &alloc, at);
        }
        if wants_look && alloc.client == ClientStatus::Failed {
            self.evaluate_job(&key, Trigger::AllocFailure, None, at);
        }
        if ended {
            self.refresh_job_status(&key);
        } else if old.client != report.client {
            self.refresh_job_status(&key);
        }
    }

    pub(super) fn alloc_transitions(
        &mut self,
        transitions: BTreeMap<AllocId, Transition>,
        evals: Vec<Eval>,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        for (id, wish) in transitions {
            let Some(old) = self.s.allocs.get(&id) else { continue };
            let mut alloc = Alloc::clone(old);
            alloc.transition.migrate |= wish.migrate;
            alloc.transition.reschedule |= wish.reschedule;
            alloc.transition.force_reschedule |= wish.force_reschedule;
            alloc.transition.no_shutdown_delay |= wish.no_shutdown_delay;
            alloc.alloc_modify_index = self.index;
            self.put_alloc(alloc);
        }
        for eval in evals {
            self.put_eval(eval, at);
        }
        Ok(Reply::Done)
    }

    /// Store an allocation, its indexes and its service instances.
    pub(super) fn put_alloc(&mut self, mut alloc: Alloc) {
        alloc.modify_index = self.index;
        self.s.allocs_by_job.insert((alloc.job.clone(), alloc.id));
        self.s.allocs_by_node.insert((alloc.node, alloc.id));
        self.touch_alloc(&alloc);
        let alloc = Arc::new(alloc);
        self.s.allocs.insert(alloc.id, Arc::clone(&alloc));
        self.sync_services(&alloc);
    }

    /// Begin the leaving handshake of an allocation that this entry stops.
    ///
    /// Only instances that load balancers may be using are waited for; one that was never healthy leaves at once.
    pub(super) fn leave(&self, alloc: &Alloc, at: Timestamp, deadline: Timestamp) -> Option<Leaving> {
        let routed = self.s.instances_by_alloc.get(&alloc.id).is_some_and(|i| !i.is_empty());
        let awaiting: std::collections::BTreeSet<_> = self.s.balancers.keys().copied().collect();
        (routed && !awaiting.is_empty()).then_some(Leaving { since: at, deadline, awaiting })
    }

    pub(super) fn forget_alloc(&mut self, alloc: &Alloc) {
        self.drop_services(alloc.id);
        self.s.allocs.remove(&alloc.id);
        self.s.allocs_by_job.remove(&(alloc.job.clone(), alloc.id));
        self.s.allocs_by_node.remove(&(alloc.node, alloc.id));
        self.touch_alloc(alloc);
        self.prune_versions(&alloc.job);
    }

    pub(super) fn touch_alloc(&mut self, alloc: &Alloc) {
        self.s.tables.allocs = self.index;
        self.touch(Topic::Allocs);
        self.touch(Topic::Alloc(alloc.id));
        self.touch(Topic::JobAllocs(alloc.job.id.clone()));
        self.touch(Topic::NodeAllocs(alloc.node));
    }
}
