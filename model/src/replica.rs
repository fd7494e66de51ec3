//! The seam behind which replication lives: read a snapshot, propose a change, wait for a topic.
//!
//! [`Replica`] is implemented by the Raft host of a server, by the follower stream of other agents, and by
//! [`local::LocalReplica`], which applies commands in memory for tests.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    command::{Applied, Command, Rejected},
    id::Index,
    state::State,
    topic::Topic,
};

pub mod local;
pub mod waiters;

pub use waiters::Waiters;

/// A proposal that was not applied, or whose fate is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// Applied, and refused by the state: the reason is the user's.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("No cluster leader")]
    NoLeader,
    /// The change may or may not have been applied.
    #[error("the change was not confirmed: {0}")]
    Unknown(String),
    /// Replication has stopped for good (disk full, corrupt log). Restart the agent after mending the cause.
    #[error("the replicated log has stopped: {0}")]
    Stopped(String),
}

/// Who leads, as this agent sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This agent leads: leader loops run here.
    pub is_leader: bool,
    /// `host:port` of the leader's RPC, when known.
    pub leader: Option<String>,
    pub term: u64,
}

/// A replica of the state.
pub trait Replica: Send + Sync + 'static {
    /// The newest applied state. Costs an atomic load; never blocks.
    fn snapshot(&self) -> Arc<State>;

    /// Commit a command and return what applying it gave.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ProposeError>>;

    /// The registry that wakes readers when a topic was touched.
    fn waiters(&self) -> &Waiters;

    /// Changes of leadership.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// How long ago the leader was last heard; `None` when this replica is the leader's own.
    fn last_contact(&self) -> Option<Duration> {
        None
    }
}

/// Wait until `view` of the state gives an index above `after`, or until `wait` has passed; returns the last view.
///
/// This is every blocking query: `view` returns the index a client sees and the answer, on one snapshot.
pub async fn block_until<T>(
    replica: &dyn Replica,
    topics: &[Topic],
    after: Index,
    wait: Duration,
    mut view: impl FnMut(&State) -> (Index, T),
) -> (Index, T) {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        // Subscribe before looking, so that a change between the two is not missed.
        let mut woken = replica.waiters().subscribe(topics);
        let (index, answer) = view(&replica.snapshot());
        if after.0 == 0 || index > after {
            return (index, answer);
        }
        if tokio::time::timeout_at(deadline, woken.wait()).await.is_err() {
            return (index, answer);
        }
    }
}
