//! [`RaftReplica`]: opening, proposing, watching and ending the Raft host.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{
    Command, Index, LbId, Replica, State,
    command::{Applied, Rejected},
    replica::{Leadership, ProposeError, Waiters},
};
use openraft::{
    BasicNode, Raft, RaftMetrics, SnapshotPolicy,
    errors::{ClientWriteError, Fatal, RaftError},
    rt::WatchReceiver,
};
use serde::Serialize;
use tokio::{runtime::Runtime, sync::watch};

use super::{
    directory::{Directory, Identity},
    feed::Fed,
    file::{Loaded, LogFile},
    log::LogStore,
    machine::{Machine, Published},
    network::NoPeers,
    snapshot::Snapshots,
    types::{CommandBytes, TypeConfig},
    writer::{self, Stopped},
};
use crate::Error;

/// The largest encoded command, in bytes. Holds a job of a few thousand lines or a transaction of a dozen of the
/// largest values; one entry must never hold up the log for long.
pub const MAX_COMMAND: usize = 8 << 20;

/// Entries between snapshots. A start replays at most this many (well under a second); a snapshot writes the whole
/// state, so it must not be much rarer than its cost is spread.
const SNAPSHOT_AFTER: u64 = 10_000;
/// Entries kept behind a snapshot for followers that are a little behind.
const KEEP_AFTER_SNAPSHOT: u64 = 2_000;
/// Raft's own threads: one for the core, one for applying.
const THREADS: usize = 2;
/// How long a proposal may take before its fate is called unknown.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a start may take to replay the log.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(120);
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(20);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);

/// What a Raft host needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agent's data directory; Raft lives in `raft/` below it.
    pub data_dir: PathBuf,
    pub node_name: String,
    /// `host:port` under which other agents reach this server's RPC.
    pub rpc_addr: String,
    /// Entries between snapshots.
    pub snapshot_after: u64,
}

impl Config {
    #[must_use]
    pub fn new(data_dir: PathBuf, node_name: String, rpc_addr: String) -> Self {
        Self { data_dir, node_name, rpc_addr, snapshot_after: SNAPSHOT_AFTER }
    }
}

/// Figures for `/v1/metrics` and `agent self`. Indexes are 0 when there is none.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    pub cluster: uuid::Uuid,
    pub node_id: u64,
    pub term: u64,
    /// `Leader`, `Follower`, `Candidate`, `Learner` or `Shutdown`.
    pub state: String,
    pub last_log_index: u64,
    pub commit_index: u64,
    pub applied_index: u64,
    pub last_snapshot_index: u64,
    pub purged_index: u64,
    pub voters: usize,
    /// Why the log has stopped, if it has.
    pub stopped: Option<String>,
}

type Host = Raft<TypeConfig, Machine>;

/// A voter and its state.
pub struct RaftReplica {
    published: Arc<Published>,
    raft: Host,
    identity: Identity,
    rpc_addr: String,
    leadership: watch::Receiver<Leadership>,
    stopped: Stopped,
    /// Load balancers of this process: they registered through this handle, and live as long as it does.
    local_balancers: Mutex<BTreeSet<LbId>>,
    owned: Mutex<Option<Owned>>,
}

/// What `shutdown` takes apart, in this order.
struct Owned {
    runtime: Runtime,
    writer: JoinHandle<()>,
    _directory: Directory,
}

impl std::fmt::Debug for RaftReplica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftReplica").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The directory, read and verified.
pub(super) struct Opened {
    pub directory: Directory,
    pub file: Arc<LogFile>,
    pub loaded: Loaded,
    pub snapshots: Snapshots,
}

/// Open, with a little patience about locks: a process that an agent was just starting when it was killed holds
/// copies of the agent's locks until it becomes the program it is to be.
fn open_directory(config: &Config) -> Result<Opened, Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match try_open_directory(config) {
            Err(Error::Locked { .. }) if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            result => return result,
        }
    }
}

fn try_open_directory(config: &Config) -> Result<Opened, Error> {
    let directory = Directory::claim(&config.data_dir)?;
    let log = directory.log();
    let snapshots = Snapshots::open(directory.snapshot())?;
    if snapshots.current().is_some() && !log.exists() {
        let detail = "the log is gone, though a snapshot is there".to_owned();
        return Err(Error::Damaged { path: log, dir: directory.root.clone(), detail });
    }
    let (file, loaded) = LogFile::open(&log)?;
    let covered = snapshots.current().and_then(|s| s.meta.last_log_id);
    if loaded.purged > covered {
        let detail = format!(
            "the log begins after entry {}, but {}",
            loaded.purged.map_or(0, |p| p.index),
            covered.map_or("there is no snapshot".to_owned(), |c| format!("the snapshot ends at {}", c.index))
        );
        return Err(Error::Damaged { path: directory.snapshot(), dir: directory.root.clone(), detail });
    }
    Ok(Opened { directory, file: Arc::new(file), loaded, snapshots })
}

fn raft_config(config: &Config) -> Result<openraft::Config, Error> {
    openraft::Config {
        cluster_name: "trine".to_owned(),
        // A stalled fsync takes a second; an election must not follow from it.
        heartbeat_interval: 250,
        election_timeout_min: 1500,
        election_timeout_max: 3000,
        enable_pre_vote: Some(true),
        // A start always begins a new term, so that "leads" means "has applied everything before".
        enable_leader_restore: Some(false),
        install_snapshot_timeout: 60_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_after),
        max_in_snapshot_log_to_keep: KEEP_AFTER_SNAPSHOT.min(config.snapshot_after),
        replication_lag_threshold: config.snapshot_after.saturating_mul(2),
        purge_batch_size: 256,
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|e| Error::Raft(e.to_string()))
}

impl RaftReplica {
    /// Open the data directory and start the voter; returns once the state is what it was before the last end.
    ///
    /// # Errors
    /// The directory is used by another agent, foreign, newer or damaged; or the disk fails.
    pub async fn open(config: Config) -> Result<Arc<Self>, Error> {
        let opened = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || open_directory(&config))
                .await
                .map_err(|e| Error::Raft(format!("opening the data directory panicked: {e}")))??
        };
        Self::host(config, opened).await
    }

    /// Start the voter on what was read.
    pub(super) async fn host(config: Config, opened: Opened) -> Result<Arc<Self>, Error> {
        let raft_config = Arc::new(raft_config(&config)?);
        let Opened { directory, file, loaded, snapshots } = opened;
        let identity = directory.identity;
        let path = directory.root.clone();
        let writer = writer::start(file.clone(), &loaded).map_err(Error::io("start the log writer of", &path))?;
        let log = LogStore::new(file, &loaded, &writer);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(Error::io("start the threads of Raft for", &path))?;
        let owned = Owned { runtime, writer: writer.thread, _directory: directory };

        let published = Arc::new(Published::new());
        let machine = Machine::new(Arc::clone(&published), snapshots);
        let start = start(identity, raft_config, log, machine, config.rpc_addr.clone());
        let started = owned.runtime.spawn(start).await;
        let raft = match started {
            Ok(Ok(raft)) => raft,
            failed => {
                let detail = match (writer.stopped.reason(), failed) {
                    (Some(reason), _) => reason.to_owned(),
                    (None, Ok(Err(error))) => error,
                    (None, Err(panicked)) => panicked.to_string(),
                    (None, Ok(Ok(_))) => "it ended at once".to_owned(),
                };
                drop(writer.queue);
                end(owned, None).await;
                return Err(Error::Raft(detail));
            }
        };
        let leadership = watch_leadership(&owned.runtime, &raft, identity.node, config.rpc_addr.clone());
        housekeep(&owned.runtime, raft.clone(), Arc::clone(&published), writer.stopped.clone());
        tracing::info!(
            cluster = %identity.cluster,
            node = %config.node_name,
            index = published.state.load().index.0,
            path = %path.display(),
            "the replicated log is open"
        );
        Ok(Arc::new(Self {
            published,
            raft,
            identity,
            rpc_addr: config.rpc_addr,
            leadership,
            stopped: writer.stopped,
            local_balancers: Mutex::default(),
            owned: Mutex::new(Some(owned)),
        }))
    }

    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    #[must_use]
    pub fn rpc_addr(&self) -> &str {
        &self.rpc_addr
    }

    /// Why no change can be made any more, if the log has stopped.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.stopped.reason().map(str::to_owned)
    }

    /// Whether this load balancer runs in this process.
    #[must_use]
    pub fn is_local_balancer(&self, id: LbId) -> bool {
        self.local_balancers.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    fn note_balancer(&self, command: &Command) {
        let mut local = self.local_balancers.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            Command::LbRegister { id, .. } => local.insert(*id),
            Command::LbDeregister { id } => local.remove(id),
            _ => false,
        };
    }

    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let metrics = self.raft.metrics();
        let m = metrics.borrow_watched();
        let index = |id: &Option<super::types::LogId>| id.map_or(0, |i| i.index);
        Metrics {
            cluster: self.identity.cluster,
            node_id: self.identity.node,
            term: m.current_term,
            state: format!("{:?}", m.state),
            last_log_index: m.last_log_index.unwrap_or(0),
            commit_index: index(&m.local_committed),
            applied_index: index(&m.last_applied),
            last_snapshot_index: index(&m.snapshot),
            purged_index: index(&m.purged),
            voters: m.membership_config.membership().voter_ids().count(),
            stopped: self.stopped(),
        }
    }

    /// Applied entries after `index` for a follower; `None` when it needs a snapshot.
    #[must_use]
    pub fn entries_after(&self, index: Index, max_entries: usize, max_bytes: usize) -> Option<Vec<Fed>> {
        self.published.feed.after(index.0, max_entries, max_bytes)
    }

    /// Write a snapshot of what is applied now and drop the log before it; returns the snapshot's index.
    ///
    /// # Errors
    /// The log has stopped, or the snapshot took longer than five minutes.
    pub async fn take_snapshot(&self) -> Result<Index, ProposeError> {
        let wanted = self.metrics().applied_index;
        self.raft.trigger().snapshot().await.map_err(|e| self.fatal(&e))?;
        let wait = self.raft.wait(Some(SNAPSHOT_TIMEOUT));
        let done = wait
            .metrics(|m| m.snapshot.is_some_and(|s| s.index >= wanted) || m.running_state.is_err(), "snapshot written");
        let metrics = done.await.map_err(|e| ProposeError::Unknown(e.to_string()))?;
        match metrics.running_state {
            Ok(()) => Ok(Index(metrics.snapshot.map_or(0, |s| s.index))),
            Err(fatal) => Err(self.fatal(&fatal)),
        }
    }

    /// End the voter and release the data directory. Later calls do nothing.
    pub async fn shutdown(&self) {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(owned) = owned {
            end(owned, Some(self.raft.clone())).await;
        }
    }

    /// Commit an already encoded command.
    pub async fn propose_bytes(&self, command: Bytes) -> Result<Applied, ProposeError> {
        if command.len() > MAX_COMMAND {
            let text = format!("the change is {} bytes, more than the {MAX_COMMAND} one entry may have", command.len());
            return Err(Rejected::Invalid(text).into());
        }
        let write = self.raft.client_write(CommandBytes(command));
        let answer = match tokio::time::timeout(PROPOSE_TIMEOUT, write).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(RaftError::APIError(error))) => return Err(refused(&error)),
            Ok(Err(RaftError::Fatal(fatal))) => return Err(self.fatal(&fatal)),
            Err(_) => return Err(ProposeError::Unknown(format!("no answer after {} s", PROPOSE_TIMEOUT.as_secs()))),
        };
        match answer.data.0 {
            Some(reply) => Ok(reply?),
            None => Err(ProposeError::Unknown("the log answered for an entry without a command".to_owned())),
        }
    }

    fn fatal(&self, fatal: &Fatal<TypeConfig>) -> ProposeError {
        match (self.stopped.reason(), fatal) {
            (Some(reason), _) => ProposeError::Stopped(reason.to_owned()),
            (None, Fatal::Stopped) => ProposeError::Stopped("this server is shutting down".to_owned()),
            (None, other) => ProposeError::Stopped(other.to_string()),
        }
    }
}

impl Drop for RaftReplica {
    fn drop(&mut self) {
        // Without `shutdown`: the log is safe at any moment, only the threads must go, and not by blocking this one.
        if let Some(owned) = self.owned.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            owned.runtime.shutdown_background();
        }
    }
}

impl Replica for RaftReplica {
    fn snapshot(&self) -> Arc<State> {
        self.published.state.load_full()
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        if matches!(command, Command::LbRegister { .. } | Command::LbDeregister { .. }) {
            self.note_balancer(&command);
        }
        let encoded = command.encode().map_err(|e| Rejected::Invalid(e.to_string()));
        Box::pin(async move { self.propose_bytes(Bytes::from(encoded?)).await })
    }

    fn waiters(&self) -> &Waiters {
        &self.published.waiters
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }
}

fn refused(error: &ClientWriteError<TypeConfig>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(_) => ProposeError::NoLeader,
        other => ProposeError::Unknown(other.to_string()),
    }
}

/// Runs on Raft's own runtime, so that everything openraft spawns stays there.
async fn start(
    identity: Identity,
    config: Arc<openraft::Config>,
    log: LogStore,
    machine: Machine,
    rpc_addr: String,
) -> Result<Host, String> {
    let me = identity.node;
    let raft = Raft::new(me, config, NoPeers, log, machine).await.map_err(|e| e.to_string())?;
    let before = raft.metrics().borrow_watched().current_term;
    if !raft.is_initialized().await.map_err(|e| e.to_string())? {
        let members = std::collections::BTreeMap::from([(me, BasicNode::new(rpc_addr.clone()))]);
        raft.initialize(members).await.map_err(|e| e.to_string())?;
    } else if raft.voter_ids().eq([me]) {
        // Nobody else can lead: do not wait for an election timeout.
        raft.trigger().elect(false).await.map_err(|e| e.to_string())?;
    }
    // Leading in a new term, with its first entry applied, is having replayed everything before it.
    let leads = |m: &RaftMetrics<TypeConfig>| m.current_term > before && leadership_of(m, me, &rpc_addr).is_leader;
    let recovered = |m: &RaftMetrics<TypeConfig>| m.running_state.is_err() || leads(m);
    let wait = raft.wait(Some(RECOVERY_TIMEOUT));
    let metrics = wait.metrics(recovered, "the log is replayed").await.map_err(|e| e.to_string())?;
    metrics.running_state.map_err(|e| e.to_string())?;
    Ok(raft)
}

fn leadership_of(m: &RaftMetrics<TypeConfig>, me: u64, rpc_addr: &str) -> Leadership {
    // A new leader leads once its state holds every entry of the terms before: its own first entry is applied.
    let caught_up = m.last_applied.is_some_and(|a| a.leader_id.term == m.current_term);
    let is_leader = m.running_state.is_ok() && m.state.is_leader() && caught_up;
    let leader = match m.current_leader {
        Some(id) if id == me => is_leader.then(|| rpc_addr.to_owned()),
        Some(id) => m.membership_config.membership().get_node(&id).map(|n| n.addr.clone()),
        None => None,
    };
    Leadership { is_leader, leader, term: m.current_term }
}

fn watch_leadership(runtime: &Runtime, raft: &Host, me: u64, rpc_addr: String) -> watch::Receiver<Leadership> {
    let mut metrics = raft.metrics();
    let first = leadership_of(&metrics.borrow_and_update(), me, &rpc_addr);
    let (sender, receiver) = watch::channel(first);
    runtime.spawn(async move {
        loop {
            let ended = metrics.changed().await.is_err();
            let now = match ended {
                true => Leadership::default(),
                false => leadership_of(&metrics.borrow_and_update(), me, &rpc_addr),
            };
            let changed = sender.send_if_modified(|old| {
                let differs = *old != now;
                *old = now;
                differs
            });
            if changed {
                let current = sender.borrow().clone();
                tracing::info!(leads = current.is_leader, leader = ?current.leader, term = current.term, "leadership");
            }
            if ended {
                return;
            }
        }
    });
    receiver
}

/// Snapshots that are due by bytes, and one clear message when Raft ends by itself.
fn housekeep(runtime: &Runtime, raft: Host, published: Arc<Published>, stopped: Stopped) {
    let mut metrics = raft.metrics();
    runtime.spawn(async move {
        loop {
            tokio::select! {
                () = published.snapshot_due.notified() => {
                    if raft.trigger().snapshot().await.is_err() {
                        return;
                    }
                }
                changed = metrics.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let state = metrics.borrow_and_update().running_state.clone();
                    if let Err(fatal) = state {
                        if fatal != Fatal::Stopped && stopped.reason().is_none() {
                            tracing::error!(%fatal, "Raft has stopped: no change can be made until this agent restarts");
                            stopped.note(format!("{fatal}; mend the cause, then restart this agent. Reads are still answered"));
                        }
                        return;
                    }
                }
            }
        }
    });
}

/// Take the host apart without blocking the caller's runtime. The lock goes last.
async fn end(owned: Owned, raft: Option<Host>) {
    if let Some(raft) = raft
        && let Err(error) = raft.shutdown().await
    {
        tracing::warn!(%error, "Raft did not end cleanly");
    }
    let ended = tokio::task::spawn_blocking(move || {
        let Owned { runtime, writer, _directory } = owned;
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        if writer.join().is_err() {
            tracing::error!("the log writer panicked");
        }
    });
    if let Err(error) = ended.await {
        tracing::error!(%error, "ending Raft failed");
    }
}
