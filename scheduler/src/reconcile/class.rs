//! The fate of one allocation, before its neighbours are considered.

use std::sync::Arc;

use model::{Alloc, ClientStatus, Job, State, Timestamp, alloc::TaskPhase, check::Verdict, job::Hook, state::derive};

use super::{Scene, reschedule, update};

/// What an allocation is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It runs, or is about to.
    Live,
    /// It is to leave its node.
    Migrating,
    /// Its node is gone.
    Lost,
    /// Batch work that was done.
    Done,
    /// It failed and is tried again at this time.
    Waiting(Timestamp),
    /// It failed and is to be replaced now.
    Retry,
    /// It failed for good.
    Dead,
    /// Over, and of no account.
    Gone,
}

/// How an allocation's version relates to the job's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Current,
    /// Older, and can be carried over without touching its tasks.
    Carried,
    /// Older, and must be replaced.
    Old,
}

/// An allocation with what was found out about it.
#[derive(Clone, Debug)]
pub struct Item {
    pub alloc: Arc<Alloc>,
    pub fate: Fate,
    pub version: Version,
}

impl Item {
    /// It has the job's version, or will have it after this plan.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.version != Version::Old
    }

    #[must_use]
    pub fn live(&self) -> bool {
        self.fate == Fate::Live
    }
}

/// The node is down or unknown: nothing on it counts.
#[must_use]
pub fn on_lost_node(state: &State, alloc: &Alloc) -> bool {
    state.nodes.get(&alloc.node).is_none_or(|n| n.lost())
}

/// An operator or the drainer wants it elsewhere.
#[must_use]
pub fn migrating(state: &State, alloc: &Alloc, now: Timestamp) -> bool {
    alloc.transition.migrate || drain_forced(state, alloc, now)
}

/// Its node's drain deadline has passed.
#[must_use]
pub fn drain_forced(state: &State, alloc: &Alloc, now: Timestamp) -> bool {
    let drain = state.nodes.get(&alloc.node).and_then(|n| n.drain.as_ref());
    drain.and_then(|d| d.force_at).is_some_and(|at| at <= now && alloc.transition.migrate)
}

/// Classify one allocation that the servers want to run.
#[must_use]
pub fn fate(scene: &Scene<'_>, alloc: &Arc<Alloc>) -> Fate {
    match alloc.client {
        ClientStatus::Complete if scene.job.kind.runs_to_completion() && alloc.ran_successfully() => {
            // Work done under an older version is done again under the new one.
            return if alloc.job_version == scene.job.version { Fate::Done } else { Fate::Gone };
        }
        ClientStatus::Complete | ClientStatus::Lost => return Fate::Gone,
        ClientStatus::Failed => {
            let failed = scene.deployment.as_ref().filter(|d| d.status == model::DeploymentStatus::Failed);
            if failed.is_some_and(|d| alloc.deployment == Some(d.id)) && !alloc.transition.force_reschedule {
                return Fate::Dead;
            }
            return reschedule::fate(scene, alloc);
        }
        _ => {}
    }
    if on_lost_node(scene.state, alloc) {
        Fate::Lost
    } else if migrating(scene.state, alloc, scene.now) {
        Fate::Migrating
    } else {
        Fate::Live
    }
}

/// Whether an older allocation can be carried over. The node's suitability is asked separately.
#[must_use]
pub fn version(scene: &Scene<'_>, alloc: &Alloc) -> Version {
    if alloc.job_version == scene.job.version {
        return Version::Current;
    }
    let Some(old) = scene.state.job_of(alloc) else { return Version::Old };
    if update::destructive(old, scene.job, &alloc.group) { Version::Old } else { Version::Carried }
}

/// The allocation does its work: its tasks run and every check of its services passes.
#[must_use]
pub fn serving(state: &State, alloc: &Alloc) -> bool {
    if alloc.client != ClientStatus::Running || alloc.server_terminal() {
        return false;
    }
    let (Some(job), Some(node)) = (state.job_of(alloc), state.nodes.get(&alloc.node)) else { return false };
    if !tasks_up(job, alloc) {
        return false;
    }
    let templates = derive::templates(job, alloc, node);
    templates.iter().flat_map(|t| t.instance.checks.values()).all(|c| c.verdict == Verdict::Passing)
}

fn tasks_up(job: &Job, alloc: &Alloc) -> bool {
    let Some(group) = job.group(&alloc.group) else { return false };
    group.tasks.iter().all(|t| {
        let state = alloc.tasks.get(&t.name);
        match t.lifecycle {
            Some(l) if l.hook == Hook::Poststop => true,
            Some(l) if !l.sidecar => state.is_some_and(|s| s.phase == TaskPhase::Running || s.succeeded()),
            _ => state.is_some_and(|s| s.phase == TaskPhase::Running),
        }
    })
}

/// The allocation may take over from another: healthy by its deployment's judgement, or, when no deployment judges it,
/// by its checks.
#[must_use]
pub fn ready(state: &State, alloc: &Alloc) -> bool {
    if alloc.client != ClientStatus::Running || alloc.server_terminal() || alloc.unhealthy() {
        return false;
    }
    let judged = alloc.deployment.and_then(|id| state.deployments.get(&id)).is_some_and(|d| d.status.active());
    alloc.healthy() || (!judged && serving(state, alloc))
}
