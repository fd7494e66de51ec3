//! The replicated state machine: `model::State` behind an `ArcSwap`, applied in batches, published once per batch.
//!
//! ```text
//! committed entries ─► decode ─► State::apply (on a copy) ─► feed, publish, wake ─► answer the proposers
//! ```
//! A proposer is answered after the publication, so what it wrote is in the next snapshot it takes.

use std::{collections::BTreeSet, io, panic, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use model::{
    Command, State, Topic,
    command::{Applied, Rejected},
    id::Index,
    replica::Waiters,
};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    alias::SnapshotOf,
    entry::RaftEntry,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use tokio::sync::Notify;

use super::{
    feed::{Fed, Feed},
    snapshot::{Snapshot, Snapshots},
    types::{LogId, Membership, Response, SnapshotMeta, TypeConfig},
};

/// Entries applied before readers see them, at most.
const PUBLISH_EVERY: usize = 1024;
/// Log bytes after which a snapshot is due even if few entries were written: bounds the log on disk and what a start
/// replays.
const SNAPSHOT_BYTES: usize = 64 << 20;

/// What readers, proposers and followers see.
#[derive(Debug)]
pub struct Published {
    pub state: ArcSwap<State>,
    pub waiters: Waiters,
    pub feed: Feed,
    /// Rung when the log has grown by `SNAPSHOT_BYTES` since the last snapshot.
    pub snapshot_due: Notify,
}

impl Published {
    pub fn new() -> Self {
        Self {
            state: ArcSwap::from_pointee(State::default()),
            waiters: Waiters::default(),
            feed: Feed::default(),
            snapshot_due: Notify::new(),
        }
    }
}

/// Apply one entry's bytes. Total: whatever happens, `state` is at `index` afterwards, and the same on every replica.
///
/// # Errors
/// Bytes that do not decode. They were written by a newer trine; going on would make this replica differ.
pub fn apply_bytes(
    state: &mut State,
    index: Index,
    bytes: &[u8],
    touched: &mut BTreeSet<Topic>,
) -> Result<Option<Result<Applied, Rejected>>, io::Error> {
    if bytes.is_empty() {
        state.skip(index);
        return Ok(None);
    }
    let command = Command::decode(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("entry {index} of the log: {e}")))?;
    // `apply` works on a copy and replaces the state at the end, so a panic leaves the state as it was. Every replica
    // panics alike and refuses the entry alike; none dies of it again and again at every start.
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| state.apply(index, command)));
    match outcome {
        Ok(outcome) => {
            touched.extend(outcome.touched);
            Ok(Some(outcome.reply))
        }
        Err(_) => {
            state.skip(index);
            tracing::error!(%index, "applying this entry panicked; it was refused. Please report it");
            Ok(Some(Err(Rejected::Invalid("internal error while applying this change; it was refused".to_owned()))))
        }
    }
}

/// openraft's state machine.
#[derive(Debug)]
pub struct Machine {
    published: Arc<Published>,
    snapshots: Snapshots,
    applied: Option<LogId>,
    membership: Membership,
    bytes_since_snapshot: usize,
}

/// Entries applied and not yet published.
struct Batch {
    state: State,
    touched: BTreeSet<Topic>,
    fed: Vec<Fed>,
    answers: Vec<(ApplyResponder<TypeConfig>, Response)>,
}

impl Machine {
    pub fn new(published: Arc<Published>, snapshots: Snapshots) -> Self {
        Self { published, snapshots, applied: None, membership: Membership::default(), bytes_since_snapshot: 0 }
    }

    fn begin(&self) -> Batch {
        let state = State::clone(&self.published.state.load());
        Batch { state, touched: BTreeSet::new(), fed: Vec::new(), answers: Vec::new() }
    }

    fn publish(&self, batch: Batch) {
        if batch.fed.is_empty() {
            return;
        }
        let index = batch.state.index;
        self.published.feed.push(batch.fed);
        self.published.state.store(Arc::new(batch.state));
        self.published.waiters.published(index, &batch.touched);
        for (responder, answer) in batch.answers {
            responder.send(answer);
        }
    }

    fn apply_one(&mut self, batch: &mut Batch, item: EntryResponder<TypeConfig>) -> io::Result<()> {
        let (entry, responder) = item;
        let command = match &entry.payload {
            EntryPayload::Normal(command) => command.0.clone(),
            EntryPayload::Blank | EntryPayload::Membership(_) => Bytes::new(),
        };
        let index = Index(entry.index());
        let answer = apply_bytes(&mut batch.state, index, &command, &mut batch.touched)?;
        if let EntryPayload::Membership(membership) = entry.payload {
            self.membership = Membership::new(Some(entry.log_id), membership);
        }
        self.applied = Some(entry.log_id);
        self.bytes_since_snapshot += command.len();
        batch.fed.push(Fed { index: index.0, command });
        if let Some(responder) = responder {
            batch.answers.push((responder, Response(answer)));
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Arc<State>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = self.begin();
        let result = loop {
            let item = match entries.try_next().await {
                Ok(Some(item)) => item,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if let Err(error) = self.apply_one(&mut batch, item) {
                break Err(error);
            }
            if batch.fed.len() >= PUBLISH_EVERY {
                self.publish(batch);
                batch = self.begin();
            }
        };
        self.publish(batch);
        if self.bytes_since_snapshot > SNAPSHOT_BYTES {
            self.bytes_since_snapshot = 0;
            self.published.snapshot_due.notify_one();
        }
        result
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.bytes_since_snapshot = 0;
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder {
            snapshot: Snapshot { meta, state: self.published.state.load_full() },
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, state: Arc<State>) -> Result<(), io::Error> {
        save(&self.snapshots, Snapshot { meta: meta.clone(), state: Arc::clone(&state) }).await?;
        let index = state.index;
        self.published.feed.reset(index.0);
        self.published.state.store(state);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.published.waiters.replaced(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, Arc<State>>>, io::Error> {
        let current = self.snapshots.current();
        Ok(current.map(|s| SnapshotOf::<TypeConfig, _> { meta: s.meta, snapshot: s.state }))
    }
}

/// Encode and write off the runtime's threads: a large state takes as long as the disk does.
async fn save(snapshots: &Snapshots, snapshot: Snapshot) -> io::Result<()> {
    let snapshots = snapshots.clone();
    tokio::task::spawn_blocking(move || {
        let path = snapshots.path().display().to_string();
        snapshots.save(snapshot).map_err(|e| io::Error::new(e.kind(), format!("cannot write {path}: {e}")))
    })
    .await
    .map_err(io::Error::other)?
}

/// One snapshot to be written: a copy of the root, taken in O(1).
#[derive(Debug)]
pub struct Builder {
    snapshot: Snapshot,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Arc<State>;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, Arc<State>>, io::Error> {
        let Snapshot { meta, state } = self.snapshot.clone();
        save(&self.snapshots, self.snapshot.clone()).await?;
        Ok(SnapshotOf::<TypeConfig, _> { meta, snapshot: state })
    }
}
