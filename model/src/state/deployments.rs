//! Deployments: status, promotion, and the counts of healthy and unhealthy allocations.

use std::sync::Arc;

use super::Tx;
use crate::{
    alloc::{Alloc, AllocHealth},
    command::{Noun, Rejected, Reply},
    deployment::{Deployment, DeploymentStatus, description},
    eval::{Eval, Trigger},
    id::{AllocId, DeploymentId, GroupName},
    job::Job,
    time::Timestamp,
    topic::Topic,
};

impl Tx {
    pub(super) fn deployment_status(
        &mut self,
        id: DeploymentId,
        status: DeploymentStatus,
        words: &str,
        revert: Option<Box<Job>>,
        eval: Option<Eval>,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let stored = self.s.deployments.get(&id).ok_or(Rejected::NotFound(Noun::Deployment))?;
        if !stored.status.active() {
            return Err(Rejected::Invalid(format!(
                "can't change terminal deployment: it is {}",
                stored.status.as_str()
            )));
        }
        self.set_deployment_status(id, status, words, at);
        if let Some(job) = revert {
            self.job_register(*job, None, None, at)?;
        }
        if let Some(eval) = eval {
            self.put_eval(eval, at);
        }
        Ok(Reply::Done)
    }

    /// Change a status; a success makes the job version stable, the one later failures revert to.
    pub(super) fn set_deployment_status(
        &mut self,
        id: DeploymentId,
        status: DeploymentStatus,
        words: &str,
        at: Timestamp,
    ) {
        // What is over stays over, whatever a plan made before that says.
        let Some(stored) = self.s.deployments.get(&id).filter(|d| d.status.active()).cloned() else { return };
        let mut d = Deployment::clone(&stored);
        d.status = status;
        d.description = words.to_owned();
        let (job, version) = (d.job.clone(), d.job_version);
        self.put_deployment(d, at);
        if status == DeploymentStatus::Successful && self.s.job_version(&job, version).is_some() {
            // The version exists, so this cannot be refused.
            self.job_stability(&job, version, true).ok();
        }
    }

    pub(super) fn deployment_promote(
        &mut self,
        id: DeploymentId,
        groups: &[GroupName],
        eval: Eval,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let stored = self.s.deployments.get(&id).cloned().ok_or(Rejected::NotFound(Noun::Deployment))?;
        if !stored.status.active() {
            return Err(Rejected::Invalid("can't promote terminal deployment".into()));
        }
        let mut d = Deployment::clone(&stored);
        let mut promoted: Vec<AllocId> = Vec::new();
        for (name, group) in &mut d.groups {
            if !groups.is_empty() && !groups.contains(name) {
                continue;
            }
            if !group.awaits_promotion() {
                continue;
            }
            let ready = group
                .placed_canaries
                .iter()
                .filter(|id| self.s.allocs.get(*id).is_some_and(|a| a.healthy() && !a.terminal()))
                .count();
            if ready < group.desired_canaries as usize {
                return Err(Rejected::Invalid(format!(
                    "Task group \"{name}\" has {ready}/{} healthy allocations",
                    group.desired_canaries
                )));
            }
            group.promoted = true;
            // The rest of the roll-out gets its own time.
            if !group.progress_deadline.is_zero() {
                group.require_progress_by = at + group.progress_deadline;
            }
            promoted.extend(group.placed_canaries.iter().copied());
        }
        if promoted.is_empty() {
            return Err(Rejected::Invalid("no canaries to promote".into()));
        }
        if !d.awaits_promotion() && d.status == DeploymentStatus::Running {
            d.description = description::RUNNING.into();
        }
        self.put_deployment(d, at);
        for id in promoted {
            if let Some(alloc) = self.s.allocs.get(&id).filter(|a| !a.terminal()).cloned() {
                let mut alloc = Alloc::clone(&alloc);
                alloc.canary = false;
                alloc.alloc_modify_index = self.index;
                self.put_alloc(alloc);
            }
        }
        self.put_eval(eval, at);
        Ok(Reply::Done)
    }

    pub(super) fn deployment_health(
        &mut self,
        id: DeploymentId,
        healthy: &[AllocId],
        unhealthy: &[AllocId],
        eval: Option<Eval>,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let stored = self.s.deployments.get(&id).ok_or(Rejected::NotFound(Noun::Deployment))?;
        if !stored.status.active() {
            return Err(Rejected::Invalid("can't set health of allocations for a terminal deployment".into()));
        }
        let verdicts = healthy.iter().map(|a| (*a, true)).chain(unhealthy.iter().map(|a| (*a, false)));
        for (alloc_id, ok) in verdicts {
            let Some(old) = self.s.allocs.get(&alloc_id).filter(|a| a.deployment == Some(id)).cloned() else {
                return Err(Rejected::Invalid(format!("alloc {alloc_id} is not part of deployment {id}")));
            };
            let mut alloc = Alloc::clone(&old);
            alloc.health = Some(AllocHealth { healthy: ok, at, modify_index: self.index });
            self.put_alloc(alloc.clone());
            self.deployment_saw_health(&old, &alloc, at);
        }
        if let Some(eval) = eval {
            self.put_eval(eval, at);
        }
        Ok(Reply::Done)
    }

    /// Count an allocation's new verdict, push the progress deadline on, and let the scheduler look.
    pub(super) fn deployment_saw_health(&mut self, old: &Alloc, new: &Alloc, at: Timestamp) {
        let judged = new.deployment.and_then(|id| self.s.deployments.get(&id)).filter(|d| d.status.active());
        let Some(stored) = judged.cloned() else { return };
        let mut d = Deployment::clone(&stored);
        let Some(group) = d.groups.get_mut(&new.group) else { return };
        match (old.health.map(|h| h.healthy), new.health.map(|h| h.healthy)) {
            (before, Some(true)) => {
                group.healthy += 1;
                group.unhealthy -= u32::from(before == Some(false)).min(group.unhealthy);
                if !group.progress_deadline.is_zero() {
                    group.require_progress_by = at + group.progress_deadline;
                }
            }
            (before, Some(false)) => {
                group.unhealthy += 1;
                group.healthy -= u32::from(before == Some(true)).min(group.healthy);
            }
            (_, None) => {}
        }
        let active = d.status == DeploymentStatus::Running;
        self.put_deployment(d, at);
        if active && new.healthy() {
            self.evaluate_job(&new.job, Trigger::DeploymentWatcher, None, at);
        }
    }

    pub(super) fn touch_deployment(&mut self, id: DeploymentId) {
        self.s.tables.deployments = self.index;
        self.touch(Topic::Deployments);
        self.touch(Topic::Deployment(id));
        if let Some(d) = self.s.deployments.get(&id).map(Arc::clone) {
            self.touch(Topic::Job(d.job.id.clone()));
        }
    }
}
