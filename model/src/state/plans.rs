//! Plans: the one place where allocations begin and are told to end.

use std::{collections::BTreeSet, sync::Arc};

use super::Tx;
use crate::{
    alloc::Alloc,
    command::{Rejected, Reply},
    id::DeploymentId,
    job::JobKey,
    plan::{PlanResult, StopAlloc, UpdateAlloc},
    time::Timestamp,
};

impl Tx {
    pub(super) fn plans(&mut self, results: Vec<PlanResult>) -> Result<Reply, Rejected> {
        for result in results {
            self.plan(result);
        }
        Ok(Reply::Done)
    }

    fn plan(&mut self, result: PlanResult) {
        let PlanResult { plan, evals, at, leave_by } = result;
        let mut jobs: BTreeSet<JobKey> = evals.iter().map(|e| e.job.clone()).collect();
        if let Some(mut d) = plan.deployment {
            d.create_index = self.index;
            self.put_deployment(d, at);
        }
        for change in plan.deployment_changes {
            self.set_deployment_status(change.id, change.status, &change.description, at);
        }
        for stop in plan.stops {
            jobs.extend(self.plan_stop(stop, at, leave_by));
        }
        for update in plan.updates {
            self.plan_update(update, at);
        }
        for alloc in plan.places {
            jobs.insert(alloc.job.clone());
            self.plan_place(alloc, at);
        }
        for eval in evals {
            self.put_eval(eval, at);
        }
        for job in jobs {
            self.refresh_job_status(&job);
        }
    }

    /// Tell an allocation to end; returns its job. One that was told before keeps its first reason.
    fn plan_stop(&mut self, stop: StopAlloc, at: Timestamp, leave_by: Timestamp) -> Option<JobKey> {
        let old = self.s.allocs.get(&stop.id).cloned()?;
        if old.server_terminal() && stop.client.is_none() {
            return None;
        }
        let mut alloc = Alloc::clone(&old);
        if !old.server_terminal() {
            alloc.leaving = self.leave(&old, at, leave_by);
        }
        alloc.desired = stop.desired;
        alloc.desired_description = stop.description;
        if let Some(client) = stop.client {
            alloc.client = client;
            alloc.leaving = None;
        }
        alloc.followup_eval = stop.followup_eval.or(alloc.followup_eval);
        alloc.alloc_modify_index = self.index;
        alloc.modified_at = at;
        let key = alloc.job.clone();
        self.put_alloc(alloc);
        Some(key)
    }

    fn plan_update(&mut self, update: UpdateAlloc, at: Timestamp) {
        // An allocation that was stopped meanwhile keeps the version it ran.
        let Some(old) = self.s.allocs.get(&update.id).filter(|a| !a.server_terminal()).cloned() else { return };
        let mut alloc = Alloc::clone(&old);
        if alloc.deployment != update.deployment {
            alloc.deployment = update.deployment;
            // Each deployment judges for itself.
            alloc.health = None;
            self.deployment_placed(update.deployment, &alloc, at);
        }
        alloc.job_version = update.job_version;
        alloc.canary = update.canary;
        alloc.followup_eval = update.followup_eval;
        alloc.alloc_modify_index = self.index;
        alloc.modified_at = at;
        self.put_alloc(alloc);
    }

    fn plan_place(&mut self, mut alloc: Alloc, at: Timestamp) {
        alloc.create_index = self.index;
        alloc.alloc_modify_index = self.index;
        alloc.created_at = at;
        alloc.modified_at = at;
        if let Some(previous) = alloc.previous.and_then(|id| self.s.allocs.get(&id).cloned()) {
            let mut previous = Alloc::clone(&previous);
            previous.next = Some(alloc.id);
            self.put_alloc(previous);
        }
        self.deployment_placed(alloc.deployment, &alloc, at);
        self.put_alloc(alloc);
    }

    fn deployment_placed(&mut self, id: Option<DeploymentId>, alloc: &Alloc, at: Timestamp) {
        let Some(stored) = id.and_then(|id| self.s.deployments.get(&id)).cloned() else { return };
        let mut d = crate::deployment::Deployment::clone(&stored);
        if let Some(group) = d.groups.get_mut(&alloc.group) {
            group.placed += 1;
            if alloc.canary && !group.placed_canaries.contains(&alloc.id) {
                group.placed_canaries.push(alloc.id);
            }
            if group.require_progress_by.is_zero() && !group.progress_deadline.is_zero() {
                group.require_progress_by = at + group.progress_deadline;
            }
        }
        self.put_deployment(d, at);
    }

    pub(super) fn put_deployment(&mut self, mut d: crate::deployment::Deployment, at: Timestamp) {
        if d.create_index.0 == 0 {
            d.create_index = self.index;
        }
        d.modify_index = self.index;
        d.modified_at = at;
        self.s.deployments_by_job.insert((d.job.clone(), d.id));
        self.touch_deployment(d.id);
        self.s.deployments.insert(d.id, Arc::new(d));
    }
}
