//! Allocations: what clients report, what operators wish, and the indexes and services that follow.

use std::{collections::BTreeMap, sync::Arc};

use super::Tx;
use crate::{
    alloc::{Alloc, AllocHealth, AllocReport, ClientStatus, Desired, Leaving, Transition},
    command::{Rejected, Reply},
    eval::{Eval, Trigger},
    id::AllocId,
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
        // A late report of life does not raise the dead: the servers may have replaced it already.
        if old.client == ClientStatus::Lost || (old.client.terminal() && !report.client.terminal()) {
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
        let key = alloc.job.clone();
        let health_moved = alloc.health != old.health;
        self.put_alloc(alloc.clone());
        if health_moved {
            self.deployment_saw_health(old, &alloc, at);
        }
        if self.ended_unasked(old, &alloc) {
            self.evaluate_job(&key, Trigger::AllocFailure, None, at);
        } else if self.may_relieve(old, &alloc) {
            self.evaluate_job(&key, Trigger::DeploymentWatcher, None, at);
        }
        if old.client != alloc.client {
            self.refresh_job_status(&key);
        }
    }

    /// It ended while the servers want it to run, and the end is not the work being done.
    fn ended_unasked(&self, old: &Alloc, new: &Alloc) -> bool {
        let ended = new.client.terminal() && !old.client.terminal();
        let Some(job) = self.s.jobs.get(&new.job).filter(|j| !j.stop) else { return false };
        ended && new.desired == Desired::Run && (new.client == ClientStatus::Failed || !job.kind.runs_to_completion())
    }

    /// It runs beside the allocation it is to replace, and may have become fit to take over (or unfit): the scheduler
    /// must look. Allocations of a running deployment are looked at when their health is decided.
    fn may_relieve(&self, old: &Alloc, new: &Alloc) -> bool {
        if new.terminal() || (new.deployment.is_some() && new.health == old.health) {
            return false;
        }
        let verdicts = |a: &Alloc| a.checks.values().map(|c| c.verdict).collect::<Vec<_>>();
        let moved = new.client != old.client
            || new.health != old.health
            || verdicts(new) != verdicts(old)
            || new.tasks.iter().any(|(k, t)| old.tasks.get(k).is_none_or(|o| o.phase != t.phase));
        moved && new.previous.and_then(|p| self.s.allocs.get(&p)).is_some_and(|p| !p.terminal())
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
