//! `job plan`: what registering a job would do, without doing it.
//!
//! The state is a value: the dry run registers the job in a private copy and evaluates there.

use std::collections::BTreeMap;

use model::{
    Command, Eval, EvalId, GroupName, Index, Job, Plan, Rejected, State, Timestamp, Trigger, metric::AllocMetric,
    plan::GroupChanges,
};
use uuid::Uuid;

use crate::evaluate::evaluate;

/// What a registration would come to.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// Per group: how many allocations would be placed, stopped, updated, …
    pub changes: BTreeMap<GroupName, GroupChanges>,
    /// Groups that could not be placed whole, and why.
    pub failed_groups: BTreeMap<GroupName, AllocMetric>,
    /// The registered job's modify index now: hand it to `job run -check-index`. Zero for a new job.
    pub job_modify_index: Index,
    /// Evaluations that would follow (blocked, delayed).
    pub created_evals: Vec<Eval>,
    /// The whole plan.
    pub plan: Plan,
}

/// Plan a job without registering it. Refused where the registration would be.
pub fn plan(state: &State, job: Job, now: Timestamp) -> Result<DryRun, Rejected> {
    let key = job.key();
    let job_modify_index = state.job(&key).map_or(Index(0), |j| j.job_modify_index);
    let template = job.is_template();
    let (kind, priority) = (job.kind, job.priority);
    let mut copy = state.clone();
    let index = Index(state.index.0 + 1);
    let register = Command::JobRegister { job: Box::new(job), eval: None, enforce_index: None, at: now };
    copy.apply(index, register).reply?;
    // Any id will do; a fixed one makes the same question give the same answer.
    let id = EvalId(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("plan {key:?}").as_bytes()));
    let eval = Eval::pending(id, key, kind, priority, Trigger::JobRegister, now);
    let done = evaluate(&copy, &eval, now);
    let failed_groups = done.evals.iter().find(|e| e.id == id).map(|e| e.failed_groups.clone()).unwrap_or_default();
    Ok(DryRun {
        changes: if template { BTreeMap::new() } else { done.plan.changes.clone() },
        failed_groups,
        job_modify_index,
        created_evals: done.evals.into_iter().filter(|e| e.id != id && !e.status.terminal()).collect(),
        plan: done.plan,
    })
}

#[cfg(test)]
mod tests {
    use crate::world::{World, changed, web};

    #[test]
    fn shows_what_would_happen_and_changes_nothing() {
        let mut w = World::new(1);
        let dry = super::plan(&w.state, web(3), w.now).expect("plans");
        assert_eq!((dry.changes["g"].place, dry.job_modify_index.0), (3, 0));
        w.run(web(3));
        w.settle();
        let before = w.state.clone();
        let dry = super::plan(&w.state, web(3), w.now).expect("plans");
        assert_eq!((dry.changes["g"].ignore, dry.plan.is_noop()), (3, true));
        let dry = super::plan(&w.state, changed(web(4), "new"), w.now).expect("plans");
        let c = &dry.changes["g"];
        assert_eq!((c.place, c.destructive, c.ignore), (1, 1, 2));
        assert!(dry.job_modify_index.0 > 0);
        let mut huge = web(1);
        huge.groups[0].tasks[0].resources.memory_mb = 1_000_000;
        let dry = super::plan(&w.state, huge, w.now).expect("plans");
        let refusal = &dry.failed_groups["g"].refusals[0];
        assert!(refusal.reason.contains("not enough memory: 1000000 MiB asked"), "{}", refusal.reason);
        assert_eq!(w.state, before);
    }
}
