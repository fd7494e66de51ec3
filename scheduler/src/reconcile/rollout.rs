//! Deployments as the scheduler sees them: when one begins, what it allows now, when it has succeeded.
//!
//! Failing and promoting are decided by the watcher in [`crate::leader::deployments`].

use std::sync::Arc;

use model::{
    Deployment, DeploymentStatus, Group, Index, JobKind,
    deployment::{GroupRollout, description},
    id::{DeploymentId, GroupName},
    job::Update,
    plan::DeploymentChange,
};

use super::{Outcome, Scene};
use crate::evaluate::dice::Dice;

/// The deployment of the job's version while groups are reconciled.
pub struct Rollout {
    current: Option<Arc<Deployment>>,
    /// Begun by this plan, once a group needs it.
    new: Option<Deployment>,
    fresh_id: DeploymentId,
    complete: bool,
}

/// End the roll-out of an older version, or of a stopped job.
pub fn cancel(scene: &Scene<'_>, out: &mut Outcome) {
    let active = scene.state.deployments_of_job(&scene.job.key()).filter(|d| d.status.active());
    for d in active {
        let words = if scene.job.stop {
            description::STOPPED_JOB
        } else if d.job_version != scene.job.version || d.job_create_index != scene.job.create_index {
            description::NEWER_JOB
        } else {
            continue;
        };
        let (status, description) = (DeploymentStatus::Cancelled, words.to_owned());
        out.deployment_changes.push(DeploymentChange { id: d.id, status, description });
    }
}

/// The update strategy, when it makes deployments.
#[must_use]
pub fn strategy<'a>(scene: &Scene<'_>, group: &'a Group) -> Option<&'a Update> {
    group.update.as_ref().filter(|u| u.max_parallel > 0 && scene.job.kind == JobKind::Service)
}

impl Rollout {
    #[must_use]
    pub fn of(scene: &Scene<'_>, dice: &mut Dice) -> Self {
        let current = scene.deployment.clone().filter(|d| d.status != DeploymentStatus::Cancelled);
        Self { current, new: None, fresh_id: dice.deployment(), complete: true }
    }

    fn status(&self) -> Option<DeploymentStatus> {
        self.current.as_ref().map(|d| d.status)
    }

    #[must_use]
    pub fn paused(&self) -> bool {
        self.status() == Some(DeploymentStatus::Paused)
    }

    #[must_use]
    pub fn failed(&self) -> bool {
        self.status() == Some(DeploymentStatus::Failed)
    }

    /// The failed deployment itself, to recognise its allocations.
    #[must_use]
    pub fn failed_id(&self) -> Option<DeploymentId> {
        self.current.as_ref().filter(|d| d.status == DeploymentStatus::Failed).map(|d| d.id)
    }

    /// A group's part of the deployment under way.
    #[must_use]
    pub fn group(&self, group: &GroupName) -> Option<&GroupRollout> {
        let active = self.current.as_deref().filter(|d| d.status.active());
        active.or(self.new.as_ref())?.groups.get(group)
    }

    /// The deployment that new allocations of a group belong to.
    #[must_use]
    pub fn id(&self, group: &GroupName) -> Option<DeploymentId> {
        self.group(group)?;
        Some(self.current.as_ref().filter(|d| d.status.active()).map_or(self.fresh_id, |d| d.id))
    }

    /// Let a group take part in a new deployment, when this version has none yet.
    pub fn begin(&mut self, scene: &Scene<'_>, group: &Group, update: &Update, canaries: u32) {
        if self.current.is_some() {
            return;
        }
        let job = scene.job;
        let d = self.new.get_or_insert_with(|| Deployment {
            id: self.fresh_id,
            job: job.key(),
            job_version: job.version,
            job_modify_index: job.job_modify_index,
            job_create_index: job.create_index,
            groups: Default::default(),
            status: DeploymentStatus::Running,
            description: description::RUNNING.into(),
            priority: scene.eval.priority,
            create_index: Index(0),
            modify_index: Index(0),
            created_at: scene.now,
            modified_at: scene.now,
        });
        let rollout = GroupRollout {
            auto_revert: update.auto_revert,
            auto_promote: update.auto_promote && canaries > 0,
            progress_deadline: update.progress_deadline,
            desired_canaries: canaries,
            desired_total: group.count,
            ..GroupRollout::default()
        };
        d.groups.insert(group.name.clone(), rollout);
    }

    /// A group is not where it should be yet.
    pub fn unfinished(&mut self) {
        self.complete = false;
    }

    /// Hand the new deployment to the plan, or declare the running one successful.
    pub fn finish(self, scene: &Scene<'_>, out: &mut Outcome) {
        if let Some(mut d) = self.new {
            if d.awaits_promotion() {
                let auto = d.promotes_itself();
                let words = if auto { description::AUTO_PROMOTION } else { description::NEEDS_PROMOTION };
                d.description = words.into();
            }
            out.deployment = Some(d);
            return;
        }
        let Some(d) = self.current.filter(|d| d.status == DeploymentStatus::Running) else { return };
        if self.complete && !d.awaits_promotion() && d.job_version == scene.job.version {
            out.deployment_changes.push(DeploymentChange {
                id: d.id,
                status: DeploymentStatus::Successful,
                description: description::SUCCESSFUL.into(),
            });
        }
    }
}
