//! Every background task of an agent: a name, a span, and what its end means.
//!
//! Owns: spawning, noticing that a task ended, stopping in stages with a deadline. Refuses: restarting anything; a role
//! that ends on its own takes the agent down with a clear error, and whoever runs the agent starts it again.
//!
//! ```text
//!  stop ─► Decide (leader loops: no new plans) ─► Edge (listeners) ─► Role (client, checks) ─► Core (RPC, replication)
//! ```

use std::{collections::HashMap, fmt::Display, time::Duration};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info_span, warn};

/// When a task is told to stop, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Decides what runs. First to go, or it would replace what the stop itself ends.
    Decide,
    /// Takes requests from outside.
    Edge,
    /// Does a role's work.
    Role,
    /// What the others stand on.
    Core,
}

const STAGES: [Stage; 4] = [Stage::Decide, Stage::Edge, Stage::Role, Stage::Core];

/// What it means when a task ends before it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// The agent cannot do its work without it.
    StopAgent,
    /// It is noted in the log; the others go on.
    Note,
}

/// A task ended that must not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{task} ended: {reason}")]
pub struct Ended {
    pub task: &'static str,
    pub reason: String,
}

#[derive(Clone, Copy, Debug)]
struct About {
    name: &'static str,
    stage: Stage,
    on_exit: OnExit,
}

/// The tasks of one agent.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), String>>,
    about: HashMap<Id, About>,
    tokens: HashMap<Stage, CancellationToken>,
}

impl Default for Supervisor {
    fn default() -> Self {
        let tokens = STAGES.into_iter().map(|s| (s, CancellationToken::new())).collect();
        Self { tasks: JoinSet::new(), about: HashMap::new(), tokens }
    }
}

impl Supervisor {
    /// The token that tells tasks of a stage to stop.
    #[must_use]
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.tokens.get(&stage).cloned().unwrap_or_default()
    }

    /// Run a task until it ends or its stage is stopped.
    pub fn spawn<E: Display>(
        &mut self,
        name: &'static str,
        stage: Stage,
        on_exit: OnExit,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let span = info_span!("task", name);
        let work = async move { task.await.map_err(|e| e.to_string()) }.instrument(span);
        let id = self.tasks.spawn(work).id();
        self.about.insert(id, About { name, stage, on_exit });
    }

    /// Wait until a task ends that must not. Never returns while all is well.
    pub async fn failure(&mut self) -> Ended {
        loop {
            let Some(done) = self.tasks.join_next_with_id().await else {
                return std::future::pending().await;
            };
            if let Some(ended) = self.judge(done) {
                return ended;
            }
        }
    }

    fn judge(&mut self, done: Result<(Id, Result<(), String>), JoinError>) -> Option<Ended> {
        let (id, reason) = match done {
            Ok((id, Ok(()))) => (id, "without an error".to_owned()),
            Ok((id, Err(reason))) => (id, reason),
            Err(e) => (e.id(), if e.is_panic() { format!("a bug: {e}") } else { "aborted".to_owned() }),
        };
        let about = self.about.remove(&id)?;
        if self.token(about.stage).is_cancelled() {
            debug!(task = about.name, %reason, "stopped");
            return None;
        }
        match about.on_exit {
            OnExit::StopAgent => {
                error!(task = about.name, %reason, "ended");
                Some(Ended { task: about.name, reason })
            }
            OnExit::Note => {
                warn!(task = about.name, %reason, "ended");
                None
            }
        }
    }

    /// Stop one stage now; returns the names of tasks that did not end within `limit`. They are aborted at the end.
    pub async fn halt(&mut self, stage: Stage, limit: Duration) -> Vec<&'static str> {
        self.token(stage).cancel();
        let until = Instant::now() + limit;
        while self.about.values().any(|a| a.stage == stage) {
            match tokio::time::timeout_at(until, self.tasks.join_next_with_id()).await {
                Ok(Some(done)) => drop(self.judge(done)),
                Ok(None) => break,
                Err(_) => return self.about.values().filter(|a| a.stage == stage).map(|a| a.name).collect(),
            }
        }
        Vec::new()
    }

    /// Stop everything stage by stage; each stage has an equal share of the time left. Returns what had to be aborted.
    pub async fn shutdown(mut self, limit: Duration) -> Vec<&'static str> {
        let deadline = Instant::now() + limit;
        let mut aborted = Vec::new();
        for (n, stage) in STAGES.into_iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(STAGES.len() - n).unwrap_or(1);
            aborted.extend(self.halt(stage, share).await);
        }
        self.tasks.shutdown().await;
        aborted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    type Nothing = std::convert::Infallible;

    #[tokio::test]
    async fn a_critical_task_that_ends_is_reported_and_others_are_not() {
        let mut all = Supervisor::default();
        all.spawn("note", Stage::Role, OnExit::Note, async { Err::<(), _>("no matter") });
        all.spawn("vital", Stage::Role, OnExit::StopAgent, async { Err::<(), _>("disk full") });
        let ended = all.failure().await;
        assert_eq!((ended.task, ended.reason.as_str()), ("vital", "disk full"));
    }

    #[tokio::test]
    async fn a_panic_is_an_end_too() {
        let mut all = Supervisor::default();
        all.spawn("vital", Stage::Role, OnExit::StopAgent, async {
            let empty: Vec<u8> = Vec::new();
            assert!(!empty.is_empty(), "made to panic");
            Ok::<_, Nothing>(())
        });
        assert!(all.failure().await.reason.contains("a bug"));
    }

    #[tokio::test]
    async fn stages_stop_in_order_and_stubborn_tasks_are_named() {
        let mut all = Supervisor::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        for (name, stage) in
            [("core", Stage::Core), ("edge", Stage::Edge), ("role", Stage::Role), ("decide", Stage::Decide)]
        {
            let (token, order) = (all.token(stage), Arc::clone(&order));
            all.spawn(name, stage, OnExit::StopAgent, async move {
                token.cancelled().await;
                order.lock().unwrap().push(name);
                Ok::<_, Nothing>(())
            });
        }
        all.spawn("stubborn", Stage::Role, OnExit::StopAgent, std::future::pending::<Result<(), Nothing>>());
        assert_eq!(all.shutdown(Duration::from_millis(90)).await, ["stubborn"]);
        assert_eq!(*order.lock().unwrap(), ["decide", "edge", "role", "core"]);
    }
}
