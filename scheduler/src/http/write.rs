//! Writes: propose with a deadline, read your own write, and the fields every write's answer carries.

use std::time::Duration;

use model::{Applied, Command, Eval, EvalId, Index, Job, JobKey, Trigger};
use serde_json::Value;
use uuid::Uuid;

use super::{Error, read::Context, reply::Reply, wire::answer};

/// Without a quorum a proposal may never come back.
const PROPOSE_MAX: Duration = Duration::from_secs(30);
/// A follower's replica trails the leader's by one round trip; nobody waits longer than this for it.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

impl Context {
    /// Commit a command, then wait until this agent's replica shows it.
    pub async fn propose(&self, command: Command) -> Result<Applied, Error> {
        let proposed = tokio::time::timeout(PROPOSE_MAX, self.api.replica.propose(command)).await;
        let applied = proposed.map_err(|_| {
            Error::Unavailable(format!(
                "the change was not confirmed within {} s and may still be applied; look before you repeat it",
                PROPOSE_MAX.as_secs()
            ))
        })??;
        let mut seen = self.api.replica.waiters().applied();
        let caught_up = async {
            while self.snapshot().index < applied.index {
                if seen.changed().await.is_err() {
                    break;
                }
            }
        };
        // Late is not wrong: the change is committed, and the answer carries its index.
        tokio::time::timeout(CATCH_UP_MAX, caught_up).await.ok();
        Ok(applied)
    }

    /// A fresh pending evaluation of a job, for this request.
    #[must_use]
    pub fn eval_of(&self, job: &Job, trigger: Trigger) -> Eval {
        self.eval(job.key(), job, trigger)
    }

    fn eval(&self, key: JobKey, job: &Job, trigger: Trigger) -> Eval {
        Eval::pending(EvalId(Uuid::new_v4()), key, job.kind, job.priority, trigger, self.req.now)
    }

    /// Evaluations that the entry at `index` created by itself.
    #[must_use]
    pub fn evals_made_at(&self, index: Index) -> Vec<String> {
        self.snapshot().evals.values().filter(|e| e.create_index == index).map(|e| e.id.to_string()).collect()
    }
}

/// A write's answer: `fields` and the query meta that Go's structs embed.
#[must_use]
pub fn written(index: Index, fields: Value) -> Reply {
    Reply::written(index, answer::with_meta(index, fields))
}
