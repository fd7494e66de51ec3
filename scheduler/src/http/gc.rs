//! What `PUT /v1/system/gc` forgets: everything that is over, however young.
//!
//! Pure. Dead jobs go with their evaluations, allocations and deployments; of living jobs only what no later decision
//! reads: an allocation is kept while a replacement of it is still to come, a deployment while it is the job's latest.

use std::collections::BTreeSet;

use model::{Alloc, Command, JobKey, JobStatus, NodeStatus, State, alloc::Desired};

/// The command that collects it all.
#[must_use]
pub fn everything_over(state: &State) -> Command {
    let busy = |key: &JobKey| {
        state.allocs_of_job(key).any(|a| !a.client.terminal())
            || state.evals_of_job(key).any(|e| !e.status.terminal())
            || state.deployments_of_job(key).any(|d| d.status.active())
    };
    // A stopped job that has come to rest, or a batch job that has done its work.
    let jobs: Vec<JobKey> = state
        .jobs
        .iter()
        .filter(|(key, j)| j.status == JobStatus::Dead && (j.stop || j.kind.runs_to_completion()) && !busy(key))
        .map(|(key, _)| key.clone())
        .collect();
    let gone: BTreeSet<&JobKey> = jobs.iter().collect();
    let over = |key: &JobKey| gone.contains(key) || !state.jobs.contains_key(key);
    let allocs: Vec<_> =
        state.allocs.values().filter(|a| a.client.terminal() && (over(&a.job) || replaced(a))).map(|a| a.id).collect();
    let kept: BTreeSet<_> = {
        let collected: BTreeSet<_> = allocs.iter().collect();
        state.allocs.values().filter(|a| !collected.contains(&a.id)).map(|a| a.eval).collect()
    };
    let evals = state
        .evals
        .values()
        .filter(|e| e.status.terminal() && (over(&e.job) || !kept.contains(&e.id)))
        .map(|e| e.id)
        .collect();
    let deployments = state
        .deployments
        .values()
        .filter(|d| !d.status.active())
        .filter(|d| over(&d.job) || state.latest_deployment(&d.job).is_some_and(|latest| latest.id != d.id))
        .map(|d| d.id)
        .collect();
    let nodes = state
        .nodes
        .values()
        .filter(|n| n.status == NodeStatus::Down && state.allocs_on_node(n.id).all(|a| a.client.terminal()))
        .map(|n| n.id)
        .collect();
    Command::Gc { jobs, evals, allocs, deployments, nodes }
}

/// Stopped by the servers, or failed with its replacement already placed: no reschedule reads it any more.
fn replaced(a: &Alloc) -> bool {
    a.desired != Desired::Run || a.next.is_some()
}
