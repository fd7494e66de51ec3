//! Which load balancers are there: registered while their agent follows the log, deregistered once it is gone.
//!
//! One task owns the table, so a registration and a deregistration of the same balancer cannot overtake each other.
//! A balancer in this very process proposes its own registration and lives as long as the process does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{Command, LbId, Replica, replica::ProposeError};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::raft::RaftReplica;

/// How long a stream may be gone before its balancer is.
const GONE_AFTER: Duration = Duration::from_secs(3);
/// How long a new leader waits for balancers it finds in the state.
const RETURN_WITHIN: Duration = Duration::from_secs(5);
/// Streams beginning or ending at once; more wait.
const QUEUE: usize = 256;

enum Event {
    Came { id: LbId, node: String, done: oneshot::Sender<Result<(), ProposeError>> },
    Went { id: LbId },
}

/// The streams there are, and the balancers whose time runs out.
#[derive(Debug, Default)]
struct Table {
    streams: BTreeMap<LbId, usize>,
    away: BTreeMap<LbId, Instant>,
}

impl Table {
    fn came(&mut self, id: LbId) {
        *self.streams.entry(id).or_default() += 1;
        self.away.remove(&id);
    }

    fn went(&mut self, id: LbId, now: Instant) {
        if let Some(count) = self.streams.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.streams.remove(&id);
                self.away.insert(id, now + GONE_AFTER);
            }
        }
    }

    /// This server begins to lead: whoever is in the state and not here has to come back.
    fn lead(&mut self, known: impl Iterator<Item = LbId>, now: Instant) {
        for id in known {
            if !self.streams.contains_key(&id) {
                self.away.entry(id).or_insert(now + RETURN_WITHIN);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.away.values().min().copied()
    }

    fn take_due(&mut self, now: Instant) -> Vec<LbId> {
        let due: Vec<_> = self.away.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in &due {
            self.away.remove(id);
        }
        due
    }
}

/// The handle streams use.
#[derive(Clone, Debug)]
pub struct Balancers(mpsc::Sender<Event>);

impl Balancers {
    /// Start the task.
    pub fn start(raft: Arc<RaftReplica>, cancel: CancellationToken) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, events) = mpsc::channel(QUEUE);
        (Self(sender), tokio::spawn(run(raft, events, cancel)))
    }

    /// A stream for this balancer begins; returns once the balancer is registered.
    pub async fn came(&self, id: LbId, node: String) -> Result<(), ProposeError> {
        let ended = || ProposeError::Stopped("this server is shutting down".to_owned());
        let (done, registered) = oneshot::channel();
        self.0.send(Event::Came { id, node, done }).await.map_err(|_| ended())?;
        registered.await.map_err(|_| ended())?
    }

    /// The stream has ended.
    pub async fn went(&self, id: LbId) {
        // The task ends only with the server.
        let _ended = self.0.send(Event::Went { id }).await;
    }
}

async fn run(raft: Arc<RaftReplica>, mut events: mpsc::Receiver<Event>, cancel: CancellationToken) {
    let mut table = Table::default();
    let mut leadership = raft.leadership();
    let mut led = false;
    loop {
        let leads = leadership.borrow_and_update().is_leader;
        if leads && !led {
            table.lead(raft.snapshot().balancers.keys().copied(), Instant::now());
        }
        led = leads;
        let deadline = table.next_deadline();
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return },
            () = timer => {
                for id in table.take_due(Instant::now()) {
                    deregister(&raft, &mut table, id).await;
                }
            }
            event = events.recv() => match event {
                None => return,
                Some(Event::Came { id, node, done }) => {
                    table.came(id);
                    let registered = propose(&raft, Command::LbRegister { id, node }).await;
                    // A caller that left meanwhile sends `Went` next.
                    let _left = done.send(registered);
                }
                Some(Event::Went { id }) => table.went(id, Instant::now()),
            },
        }
    }
}

/// Past `Replica::propose`, which takes a registration for one of this process's own.
async fn propose(raft: &RaftReplica, command: Command) -> Result<(), ProposeError> {
    let bytes = command.encode().map_err(|e| ProposeError::Unknown(e.to_string()))?;
    raft.propose_bytes(bytes.into()).await.map(drop)
}

async fn deregister(raft: &RaftReplica, table: &mut Table, id: LbId) {
    if raft.is_local_balancer(id) || !raft.snapshot().balancers.contains_key(&id) {
        return;
    }
    match propose(raft, Command::LbDeregister { id }).await {
        Ok(()) => tracing::info!(balancer = %id, "a load balancer is gone; nobody waits for it any more"),
        // The next leader finds it in the state.
        Err(ProposeError::NoLeader | ProposeError::Stopped(_)) => {}
        Err(error) => {
            tracing::warn!(balancer = %id, %error, "could not deregister a load balancer that is gone; trying again");
            table.away.insert(id, Instant::now() + GONE_AFTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> LbId {
        LbId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_balancer_is_gone_three_seconds_after_its_last_stream() {
        let t = Instant::now();
        let mut table = Table::default();
        table.came(id(1));
        table.came(id(1));
        table.went(id(1), t);
        assert_eq!(table.next_deadline(), None, "it reconnected before the old stream was seen to end");
        table.went(id(1), t);
        assert!(table.take_due(t + GONE_AFTER - Duration::from_millis(1)).is_empty());
        table.came(id(1));
        assert!(table.take_due(t + GONE_AFTER).is_empty(), "it came back in time");
        table.went(id(1), t);
        assert_eq!(table.take_due(t + GONE_AFTER), [id(1)]);
        table.went(id(1), t);
        assert_eq!(table.next_deadline(), None);
    }

    #[test]
    fn a_new_leader_waits_for_those_it_does_not_see() {
        let t = Instant::now();
        let mut table = Table::default();
        table.came(id(1));
        table.lead([id(1), id(2)].into_iter(), t);
        assert_eq!(table.take_due(t + RETURN_WITHIN), [id(2)]);
    }
}
