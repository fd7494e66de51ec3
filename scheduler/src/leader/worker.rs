//! Workers: take an evaluation, evaluate it on the newest snapshot, have its plan committed, answer the broker.

use std::{sync::Arc, time::Duration};

use model::{Eval, EvalStatus, Index, Replica, State, Trigger};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Desk, now,
    plan_applier::{Submission, Verdict},
};
use crate::{
    evaluate::{Evaluated, evaluate},
    queue::broker::Delivery,
};

/// How often a trimmed plan is worked out anew before the evaluation waits for a change instead.
const ATTEMPTS: u32 = 5;
/// How long the local state may lag behind a commit of this agent.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Work until cancelled.
pub async fn run(
    replica: Arc<dyn Replica>,
    desk: Arc<Desk>,
    plans: mpsc::Sender<Submission>,
    cancel: CancellationToken,
) {
    loop {
        let delivery = tokio::select! {
            () = cancel.cancelled() => return,
            d = desk.next() => d,
        };
        let worked = tokio::select! {
            () = cancel.cancelled() => return,
            w = work(&replica, &plans, &delivery) => w,
        };
        match worked {
            Ok(()) => desk.done(&delivery),
            Err(reason) => {
                warn!(eval = %delivery.eval.id, job = ?delivery.eval.job, %reason, "evaluation not finished");
                desk.give_back(&delivery);
            }
        }
    }
}

async fn work(replica: &Arc<dyn Replica>, plans: &mpsc::Sender<Submission>, delivery: &Delivery) -> Result<(), String> {
    let mut since = Index(0);
    for attempt in 1..=ATTEMPTS {
        let state = snapshot_at(&**replica, since).await?;
        let Some(eval) = state.evals.get(&delivery.eval.id).filter(|e| !e.status.terminal()).cloned() else {
            // Cancelled or collected while it waited.
            return Ok(());
        };
        let evaluated = off_thread(Arc::clone(&state), Arc::clone(&eval)).await?;
        let (stops, places) = (evaluated.plan.stops.len(), evaluated.plan.places.len());
        match submit(plans, evaluated).await? {
            Verdict::Whole(index) => {
                if stops + places > 0 {
                    info!(eval = %eval.id, job = ?eval.job, trigger = eval.trigger.as_str(), %index, stops, places, "plan committed");
                } else {
                    debug!(eval = %eval.id, job = ?eval.job, trigger = eval.trigger.as_str(), "nothing to change");
                }
                return Ok(());
            }
            Verdict::Trimmed(index) => {
                info!(eval = %eval.id, job = ?eval.job, attempt, "plan was trimmed; looking again");
                since = index;
            }
        }
    }
    let state = snapshot_at(&**replica, since).await?;
    match state.evals.get(&delivery.eval.id) {
        Some(eval) => submit(plans, give_up(&state, eval)).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Evaluating is CPU work: it must not hold up the runtime that answers requests.
async fn off_thread(state: Arc<State>, eval: Arc<Eval>) -> Result<Evaluated, String> {
    let at = now();
    tokio::task::spawn_blocking(move || evaluate(&state, &eval, at))
        .await
        .map_err(|e| format!("the evaluation panicked: {e}"))
}

async fn submit(plans: &mpsc::Sender<Submission>, work: Evaluated) -> Result<Verdict, String> {
    let (reply, answer) = oneshot::channel();
    plans.send(Submission { work, reply }).await.map_err(|_| "the plan applier is gone".to_owned())?;
    let verdict = answer.await.map_err(|_| "the plan applier is gone".to_owned())?;
    verdict.map_err(|e| e.to_string())
}

/// A snapshot that contains what was committed at `index`.
async fn snapshot_at(replica: &dyn Replica, index: Index) -> Result<Arc<State>, String> {
    let mut applied = replica.waiters().applied();
    let wait = async {
        loop {
            let state = replica.snapshot();
            if state.index >= index {
                return Some(state);
            }
            applied.changed().await.ok()?;
        }
    };
    let state =
        tokio::time::timeout(CATCH_UP, wait).await.map_err(|_| format!("index {index} was not applied here"))?;
    state.ok_or_else(|| "the replica is gone".to_owned())
}

/// Too many conflicts in a row: wait for a change of capacity like any other evaluation without room.
fn give_up(state: &State, eval: &Eval) -> Evaluated {
    let mut waiting = Eval::clone(eval);
    waiting.status = EvalStatus::Blocked;
    waiting.trigger = Trigger::MaxPlanAttempts;
    waiting.status_description = format!("its plan did not fit {ATTEMPTS} times in a row; waits for a change");
    waiting.snapshot_index = state.index;
    Evaluated { plan: model::Plan::empty(eval.id, eval.priority, state.index), evals: vec![waiting] }
}
