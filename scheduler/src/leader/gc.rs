//! Forgetting what is over and old. Pure: the loop in [`super`] proposes what [`collect`] returns.

use std::{collections::BTreeSet, time::Duration};

use model::{
    Alloc, AllocId, ClientStatus, Command, DeploymentId, EvalId, Job, JobKey, JobStatus, NodeId, NodeStatus, State,
    Timestamp,
};

/// How often the leader looks.
pub const INTERVAL: Duration = Duration::from_secs(300);
const EVALS: Duration = Duration::from_secs(3600);
const BATCH_EVALS: Duration = Duration::from_secs(24 * 3600);
const JOBS: Duration = Duration::from_secs(4 * 3600);
const DEPLOYMENTS: Duration = Duration::from_secs(3600);
const NODES: Duration = Duration::from_secs(24 * 3600);
/// Records per log entry; what is left over is taken in the next round.
const PER_ENTRY: usize = 5_000;

/// Everything that may be forgotten now. `force`: regardless of age (`system gc`).
#[must_use]
pub fn collect(state: &State, now: Timestamp, force: bool) -> Command {
    let old = |at: Timestamp, limit: Duration| force || now.since(at) >= limit;
    let jobs: Vec<JobKey> = state.jobs.values().filter(|j| job_over(state, j, &old)).map(|j| j.key()).collect();
    let gone: BTreeSet<&JobKey> = jobs.iter().collect();
    let allocs: BTreeSet<AllocId> = state
        .allocs
        .values()
        .filter(|a| alloc_over(state, a, gone.contains(&a.job), &old))
        .map(|a| a.id)
        .take(PER_ENTRY)
        .collect();
    let kept_evals: BTreeSet<EvalId> =
        state.allocs.values().filter(|a| !allocs.contains(&a.id)).map(|a| a.eval).collect();
    let evals: Vec<EvalId> = state
        .evals
        .values()
        .filter(|e| e.status.terminal() && !kept_evals.contains(&e.id))
        .filter(|e| gone.contains(&e.job) || old(e.modified_at, eval_age(e.kind)))
        .map(|e| e.id)
        .take(PER_ENTRY)
        .collect();
    let kept_deployments: BTreeSet<DeploymentId> =
        state.allocs.values().filter(|a| !allocs.contains(&a.id)).filter_map(|a| a.deployment).collect();
    let deployments = state
        .deployments
        .values()
        .filter(|d| !d.status.active() && !kept_deployments.contains(&d.id))
        .filter(|d| gone.contains(&d.job) || old(d.modified_at, DEPLOYMENTS))
        .map(|d| d.id)
        .collect();
    let kept_nodes: BTreeSet<NodeId> =
        state.allocs.values().filter(|a| !allocs.contains(&a.id) && !a.terminal()).map(|a| a.node).collect();
    let nodes = state
        .nodes
        .values()
        .filter(|n| n.status == NodeStatus::Down && !kept_nodes.contains(&n.id) && old(n.status_updated_at, NODES))
        .map(|n| n.id)
        .collect();
    Command::Gc { jobs, evals, allocs: allocs.into_iter().collect(), deployments, nodes }
}

/// Whether a collection would change anything.
#[must_use]
pub fn is_empty(command: &Command) -> bool {
    match command {
        Command::Gc { jobs, evals, allocs, deployments, nodes } => {
            jobs.is_empty() && evals.is_empty() && allocs.is_empty() && deployments.is_empty() && nodes.is_empty()
        }
        _ => false,
    }
}

const fn eval_age(kind: model::JobKind) -> Duration {
    if kind.runs_to_completion() { BATCH_EVALS } else { EVALS }
}

/// A dead job with nothing left to do: stopped, or batch work that was done.
fn job_over(state: &State, job: &Job, old: &dyn Fn(Timestamp, Duration) -> bool) -> bool {
    let idle = job.status == JobStatus::Dead && (job.stop || job.kind.runs_to_completion());
    let key = job.key();
    idle && old(last_touched(state, job), JOBS)
        && state.evals_of_job(&key).all(|e| e.status.terminal())
        && state.allocs_of_job(&key).all(|a| a.client.terminal())
}

fn last_touched(state: &State, job: &Job) -> Timestamp {
    let allocs = state.allocs_of_job(&job.key()).map(|a| a.modified_at);
    allocs.max().unwrap_or(job.submit_time).max(job.submit_time)
}

/// An allocation that no decision depends on any more.
fn alloc_over(state: &State, alloc: &Alloc, job_gone: bool, old: &dyn Fn(Timestamp, Duration) -> bool) -> bool {
    if !alloc.client.terminal() {
        return false;
    }
    let Some(job) = state.job(&alloc.job) else { return true };
    if job_gone {
        return true;
    }
    if !old(alloc.modified_at, eval_age(job.kind)) {
        return false;
    }
    // Batch work that was done must be remembered as done while its job is; a failed allocation that the servers still
    // want is waiting for its next attempt.
    let done = job.kind.runs_to_completion() && alloc.client == ClientStatus::Complete;
    let remembered = !alloc.server_terminal() && !job.stop && (done || alloc.client == ClientStatus::Failed);
    let judged = alloc.deployment.and_then(|d| state.deployments.get(&d)).is_some_and(|d| d.status.active());
    !remembered && !judged
}

#[cfg(test)]
mod tests {
    use model::{ClientStatus, NodeStatus, check::Verdict};

    use super::*;
    use crate::world::{World, batch, web};

    fn gc(w: &mut World, force: bool) {
        let command = collect(&w.state, w.now, force);
        w.apply(command);
    }

    #[test]
    fn nothing_that_is_needed_is_forgotten() {
        let mut w = World::new(2);
        for job in [web(2), batch(2)] {
            w.run(job);
            w.settle();
        }
        let done = w.live("batch")[0].id;
        w.report(done, ClientStatus::Complete, None, Verdict::Passing);
        w.work();
        let before = w.state.allocs.clone();
        w.pass(Duration::from_secs(30 * 24 * 3600));
        gc(&mut w, true);
        assert_eq!(w.state.allocs, before, "work that was done is remembered while its job runs");
        assert_eq!(w.state.jobs.len(), 2);
        w.settle();
        assert_eq!((w.live("web").len(), w.live("batch").len()), (2, 1));
    }

    #[test]
    fn what_is_over_goes_after_its_time_or_at_once_when_forced() {
        for force in [true, false] {
            let mut w = World::new(2);
            for job in [web(2), batch(1)] {
                w.run(job);
                w.settle();
            }
            w.stop(&w.key("web"), false);
            w.settle();
            let done = w.live("batch")[0].id;
            w.report(done, ClientStatus::Complete, None, Verdict::Passing);
            w.work();
            gc(&mut w, false);
            assert_eq!(w.state.jobs.len(), 2, "too young");
            if !force {
                w.pass(Duration::from_secs(5 * 3600));
            }
            gc(&mut w, force);
            assert!(w.state.jobs.is_empty() && w.state.allocs.is_empty() && w.state.evals.is_empty());
            assert!(w.state.deployments.is_empty() && w.state.job_versions.is_empty());
            assert!(is_empty(&collect(&w.state, w.now, true)));
        }
    }

    #[test]
    fn a_list_made_before_a_job_came_back_harms_nothing() {
        let mut w = World::new(1);
        w.run(web(1));
        w.settle();
        w.stop(&w.key("web"), false);
        w.settle();
        let stale = collect(&w.state, w.now, true);
        w.run(web(1));
        w.apply(stale);
        assert_eq!((w.state.jobs.len(), w.live("web").len()), (1, 1));
    }

    #[test]
    fn dead_nodes_go_once_nothing_is_left_on_them() {
        let mut w = World::new(2);
        w.run(web(1));
        w.settle();
        let node = w.live("web")[0].node;
        let at = w.now;
        w.apply(Command::NodeStatus { node, status: NodeStatus::Down, description: String::new(), at });
        gc(&mut w, true);
        assert_eq!(w.state.nodes.len(), 2, "its allocation is not lost yet");
        w.work();
        gc(&mut w, false);
        assert_eq!(w.state.nodes.len(), 2);
        w.pass(Duration::from_secs(25 * 3600));
        gc(&mut w, false);
        assert_eq!(w.state.nodes.len(), 1);
    }
}
