//! Watching deployments: promote what promotes itself, fail what makes no progress, go back to the last stable version.
//!
//! The decision is a pure function; the watcher loop calls it when a deployment changed or its deadline has come.

use model::{
    Command, Deployment, DeploymentStatus, Eval, EvalId, Job, State, Timestamp, Trigger,
    deployment::{GroupRollout, description},
};

/// What is to be done about a deployment now. `id` becomes the id of the evaluation that follows.
#[must_use]
pub fn decide(state: &State, d: &Deployment, id: EvalId, now: Timestamp) -> Option<Command> {
    if !d.status.active() {
        return None;
    }
    // The scheduler ends deployments of stopped and newer jobs itself.
    let job = state.job(&d.job).filter(|j| j.version == d.job_version && !j.stop)?;
    let eval = || Eval::pending(id, d.job.clone(), job.kind, job.priority, Trigger::DeploymentWatcher, now);
    let unhealthy = d.groups.values().any(|g| g.progress_deadline.is_zero() && g.unhealthy > 0);
    if unhealthy {
        return Some(fail(state, d, job, description::FAILED_ALLOCS, eval(), now));
    }
    if d.status == DeploymentStatus::Paused {
        return None;
    }
    if d.groups.values().any(|g| late(state, g, now)) {
        return Some(fail(state, d, job, description::PROGRESS_DEADLINE, eval(), now));
    }
    if d.awaits_promotion() && d.promotes_itself() && d.groups.values().all(|g| canaries_healthy(state, g)) {
        return Some(Command::DeploymentPromote { id: d.id, groups: Vec::new(), eval: eval(), at: now });
    }
    None
}

/// When the deployment must be looked at again even if nothing happens.
#[must_use]
pub fn deadline(state: &State, d: &Deployment) -> Option<Timestamp> {
    if d.status != DeploymentStatus::Running {
        return None;
    }
    let open = d.groups.values().filter(|g| !at_rest(state, g));
    open.map(|g| g.require_progress_by).filter(|t| !t.is_zero()).min()
}

/// Nothing more is expected of the group until somebody promotes it, or at all.
fn at_rest(state: &State, g: &GroupRollout) -> bool {
    let waits = g.awaits_promotion() && canaries_healthy(state, g);
    waits || (!g.awaits_promotion() && g.healthy >= g.desired_total)
}

fn late(state: &State, g: &GroupRollout, now: Timestamp) -> bool {
    !g.require_progress_by.is_zero() && g.require_progress_by <= now && !at_rest(state, g)
}

fn canaries_healthy(state: &State, g: &GroupRollout) -> bool {
    if g.desired_canaries == 0 || g.promoted {
        return true;
    }
    let healthy = g.placed_canaries.iter().filter_map(|id| state.allocs.get(id));
    healthy.filter(|a| a.healthy() && !a.terminal()).count() >= g.desired_canaries as usize
}

/// The command that fails a deployment and, where a group asks for it, goes back.
#[must_use]
pub fn fail(state: &State, d: &Deployment, job: &Job, why: &str, eval: Eval, now: Timestamp) -> Command {
    let mut revert = None;
    let mut words = why.to_owned();
    if d.groups.values().any(|g| g.auto_revert) {
        match stable_before(state, d) {
            Some(stable) if stable.same_spec(job) => {
                words.push_str(&format!(
                    " - not rolling back to stable job version {} as current job has same specification",
                    stable.version
                ));
            }
            Some(stable) => {
                words.push_str(&format!(" - rolling back to job version {}", stable.version));
                revert = Some(Box::new(stable));
            }
            None => words.push_str(" - no stable job version to auto revert to"),
        }
    }
    Command::DeploymentStatus {
        id: d.id,
        status: DeploymentStatus::Failed,
        description: words,
        revert,
        eval: Some(eval),
        at: now,
    }
}

fn stable_before(state: &State, d: &Deployment) -> Option<Job> {
    let history = state.job_history(&d.job);
    history.iter().find(|j| j.stable && j.version < d.job_version).map(|j| Job::clone(j))
}
