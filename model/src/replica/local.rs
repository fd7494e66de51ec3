//! A replica without replication: applies commands in memory, in order. For tests and dry runs.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Leadership, ProposeError, Replica, Waiters};
use crate::{
    command::{Applied, Command},
    id::Index,
    state::State,
};

/// One state, one log, no disk.
#[derive(Debug)]
pub struct LocalReplica {
    state: Mutex<Arc<State>>,
    waiters: Waiters,
    leadership: watch::Sender<Leadership>,
}

impl LocalReplica {
    #[must_use]
    pub fn new(state: State) -> Self {
        Self {
            state: Mutex::new(Arc::new(state)),
            waiters: Waiters::default(),
            leadership: watch::Sender::new(Leadership {
                is_leader: true,
                leader: Some("127.0.0.1:4647".into()),
                term: 1,
            }),
        }
    }

    /// Apply at once.
    pub fn apply(&self, command: Command) -> Result<Applied, ProposeError> {
        let (result, index, touched) = {
            let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = State::clone(&guard);
            let index = Index(next.index.0 + 1);
            let outcome = next.apply(index, command);
            *guard = Arc::new(next);
            (outcome.reply, index, outcome.touched)
        };
        self.waiters.published(index, &touched);
        Ok(result?)
    }
}

impl Replica for LocalReplica {
    fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        let result = self.apply(command);
        Box::pin(async move { result })
    }

    fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }
}
