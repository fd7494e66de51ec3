//! The plan applier: every plan is checked against the newest state, trimmed where it no longer fits, and committed, as
//! many plans in one log entry as are waiting.
//!
//! ```text
//!  workers ─► channel ─► take all that wait ─► check one after the other on a private copy ─► one Command::Plans
//! ```

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use model::{
    Alloc, Command, Index, NodeId, Plan, ProposeError, Replica, State, Timestamp, Trigger, id::AllocId,
    plan::PlanResult,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::now;
use crate::{
    evaluate::Evaluated,
    place::{
        feasible, ports,
        usage::{self, Usage},
    },
};

/// How long load balancers may finish requests to an allocation that was stopped, before its task is signalled anyway.
/// Longer than an ordinary request takes, short enough that a hung client does not hold up a deploy.
pub const LEAVE_FOR: Duration = Duration::from_secs(10);
/// Plans per log entry: bounds the size of an entry while leaving the batching to do its work.
const PLANS_PER_ENTRY: usize = 64;
/// Placements per log entry, for the same reason.
const PLACES_PER_ENTRY: usize = 2_000;

/// One worker's submission.
#[derive(Debug)]
pub struct Submission {
    pub work: Evaluated,
    pub reply: oneshot::Sender<Result<Verdict, ProposeError>>,
}

/// What became of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Committed whole, at this index.
    Whole(Index),
    /// Some placements no longer fitted: the rest is committed, the evaluation must look again.
    Trimmed(Index),
}

/// Check and commit plans until cancelled.
pub async fn run(replica: Arc<dyn Replica>, mut inbox: mpsc::Receiver<Submission>, cancel: CancellationToken) {
    loop {
        let first = tokio::select! {
            () = cancel.cancelled() => return,
            s = inbox.recv() => match s { Some(s) => s, None => return },
        };
        let mut batch = vec![first];
        let mut places = batch[0].work.plan.places.len();
        while batch.len() < PLANS_PER_ENTRY && places < PLACES_PER_ENTRY {
            let Ok(next) = inbox.try_recv() else { break };
            places += next.work.plan.places.len();
            batch.push(next);
        }
        commit(&*replica, batch).await;
    }
}

async fn commit(replica: &dyn Replica, batch: Vec<Submission>) {
    let at = now();
    let mut state = State::clone(&replica.snapshot());
    let (mut results, mut replies) = (Vec::new(), Vec::new());
    let last = batch.len() - 1;
    for (n, Submission { work, reply }) in batch.into_iter().enumerate() {
        let (result, trimmed) = check(&state, work, at);
        if n < last {
            // The next plan must see this one. Nothing is published: the copy dies with the batch.
            let next = Index(state.index.0 + 1);
            state.apply(next, Command::Plans(vec![result.clone()]));
        }
        results.push(result);
        replies.push((reply, trimmed));
    }
    let outcome = replica.propose(Command::Plans(results)).await;
    for (reply, trimmed) in replies {
        let verdict =
            outcome.clone().map(|a| if trimmed { Verdict::Trimmed(a.index) } else { Verdict::Whole(a.index) });
        // A worker that is gone was cancelled with its leadership.
        reply.send(verdict).ok();
    }
}

/// Check one plan against a state; returns it trimmed to what fits, and whether something was cut.
#[must_use]
pub fn check(state: &State, work: Evaluated, at: Timestamp) -> (PlanResult, bool) {
    let Evaluated { mut plan, evals } = work;
    let cut = misfits(state, &plan);
    let trimmed = !cut.is_empty();
    let all = plan.all_at_once && trimmed;
    if trimmed {
        let out = |a: &Alloc| all || cut.contains(&a.id);
        // What was to make room for a placement that is cut stays.
        let spared: BTreeSet<AllocId> = plan.places.iter().filter(|a| out(a)).filter_map(|a| a.previous).collect();
        plan.places.retain(|a| !out(a));
        plan.stops.retain(|s| s.client.is_some() || !spared.contains(&s.id));
    }
    // The evaluation of a trimmed plan is not over: only evaluations that the plan's updates point to are kept.
    let keep = |e: &model::Eval| {
        !trimmed || (e.id != plan.eval && matches!(e.trigger, Trigger::AllocReschedule | Trigger::RollingUpdate))
    };
    let evals = evals.into_iter().filter(keep).collect();
    (PlanResult { plan, evals, at, leave_by: at + LEAVE_FOR }, trimmed)
}

/// Placements that do not fit: their node is closed, full, or a port is taken.
fn misfits(state: &State, plan: &Plan) -> BTreeSet<AllocId> {
    let stops: BTreeSet<AllocId> = plan.stops.iter().map(|s| s.id).collect();
    let nodes: BTreeSet<NodeId> = plan.places.iter().map(|a| a.node).collect();
    let mut cut = BTreeSet::new();
    for id in nodes {
        let here = plan.places.iter().filter(|a| a.node == id);
        let Some(node) = state.nodes.get(&id).filter(|n| feasible::open(n).is_ok()) else {
            cut.extend(here.map(|a| a.id));
            continue;
        };
        let mut taken = Usage::of(state, id);
        for alloc in here {
            let from = alloc.previous.and_then(|p| state.allocs.get(&p));
            let from = from
                .filter(|f| usage::can_hand_over(state, f, id) && (stops.contains(&f.id) || f.server_terminal()))
                .map(|f| &**f);
            let job = state.job_version(&alloc.job, alloc.job_version);
            let shared = job.and_then(|j| j.group(&alloc.group)).map(ports::shared).unwrap_or_default();
            if taken.check(state, node, &alloc.resources, from, &shared).is_ok() {
                taken.add(alloc.id, &alloc.resources, from);
            } else {
                cut.insert(alloc.id);
            }
        }
    }
    cut
}
