//! The one thread that writes the log: group commit, and the order of vote and entries.
//!
//! ```text
//!  append ─┐                       ┌─ entries readable at once (log.rs)
//!  vote   ─┼─► queue ─► thread: drain ─► one transaction, one fdatasync ─► all callbacks
//!  purge  ─┘
//! ```
//! Everything that changes the file passes this queue, so a vote is never reordered with entries. After the first
//! failed write the log has stopped: a failed fsync may have dropped the pages it was to write, so trying it again
//! would acknowledge what is not on the disk.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use openraft::{entry::RaftEntry, storage::IOFlushed};
use tokio::sync::{mpsc, oneshot};

use super::{
    file::{Change, Loaded, LogFile, PURGE_CHUNK},
    types::{Entry, LogId, TypeConfig, Vote},
};

/// Operations waiting for the writer; more wait in the caller. openraft merges proposals before they come here.
const QUEUE: usize = 1024;
/// Operations in one transaction: bounds how long the first of them waits for the last.
const BATCH_OPS: usize = 512;

/// A change on its way to the disk.
pub enum Op {
    Append { entries: Vec<Entry>, done: IOFlushed<TypeConfig> },
    Vote { vote: Vote, done: Done },
    TruncateFrom { index: u64, done: Done },
    Purge { upto: LogId, done: Done },
}

pub type Done = oneshot::Sender<io::Result<()>>;

/// Why the log has stopped, once it has.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Arc<OnceLock<String>>);

impl Stopped {
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Note why; the first reason stays.
    pub fn note(&self, reason: String) {
        let _earlier = self.0.set(reason);
    }

    fn error(&self) -> io::Error {
        io::Error::other(self.reason().unwrap_or("the replicated log has stopped").to_owned())
    }
}

/// The handle of the thread. The thread ends when every clone of `queue` is gone.
#[derive(Debug)]
pub struct Writer {
    pub queue: mpsc::Sender<Op>,
    pub stopped: Stopped,
    /// Every entry before this index is in the file.
    pub durable_end: Arc<AtomicU64>,
    /// The commit point, a hint for the next start: it travels with whatever is written next.
    pub committed: Arc<Mutex<Option<LogId>>>,
    pub thread: JoinHandle<()>,
}

/// Start the thread; it goes on with a purge that was interrupted.
pub fn start(file: Arc<LogFile>, loaded: &Loaded) -> io::Result<Writer> {
    let (queue, ops) = mpsc::channel(QUEUE);
    let stopped = Stopped::default();
    let durable_end = Arc::new(AtomicU64::new(loaded.last.map_or(0, |l| l.index + 1)));
    let committed = Arc::default();
    let kept = loaded.purged.map_or(0, |p| p.index + 1);
    let mut state = Thread {
        file,
        stopped: stopped.clone(),
        durable_end: Arc::clone(&durable_end),
        committed: Arc::clone(&committed),
        sweep: loaded.leftover.unwrap_or(kept)..kept,
    };
    let thread = thread::Builder::new().name("raft-log".to_owned()).spawn(move || state.run(ops))?;
    Ok(Writer { queue, stopped, durable_end, committed, thread })
}

struct Thread {
    file: Arc<LogFile>,
    stopped: Stopped,
    durable_end: Arc<AtomicU64>,
    committed: Arc<Mutex<Option<LogId>>>,
    /// Purged entries whose bytes are still in the file.
    sweep: std::ops::Range<u64>,
}

impl Thread {
    fn run(&mut self, mut ops: mpsc::Receiver<Op>) {
        let mut batch = VecDeque::with_capacity(BATCH_OPS);
        while let Some(first) = ops.blocking_recv() {
            batch.push_back(first);
            while batch.len() < BATCH_OPS {
                let Ok(op) = ops.try_recv() else { break };
                batch.push_back(op);
            }
            self.write(&mut batch);
            while !self.sweep.is_empty() && ops.is_empty() && self.stopped.reason().is_none() {
                self.write(&mut batch);
            }
        }
        // A clean end: without this nothing is lost, the next start only replays more of the log.
        if let (Some(id), None) = (self.take_committed(), self.stopped.reason())
            && let Err(error) = self.file.commit(&[Change::Committed(&id)])
        {
            self.stop(&error);
        }
    }

    fn take_committed(&self) -> Option<LogId> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// One transaction for the whole batch, then its callbacks.
    fn write(&mut self, batch: &mut VecDeque<Op>) {
        let result = match self.stopped.reason() {
            Some(_) => Err(self.stopped.error()),
            None => self.commit(batch),
        };
        if let Err(error) = &result {
            self.stop(error);
        }
        for op in batch.drain(..) {
            let result = if result.is_ok() { Ok(()) } else { Err(self.stopped.error()) };
            match op {
                Op::Append { done, .. } => done.io_completed(result),
                // The caller may have gone; its change is written all the same.
                Op::Vote { done, .. } | Op::TruncateFrom { done, .. } | Op::Purge { done, .. } => {
                    let _gone = done.send(result);
                }
            }
        }
    }

    fn commit(&mut self, batch: &VecDeque<Op>) -> io::Result<()> {
        let mut changes = Vec::with_capacity(batch.len() + 2);
        let mut end = None;
        let mut sweep = self.sweep.clone();
        for op in batch {
            match op {
                Op::Append { entries, .. } => {
                    end = entries.last().map(|e| e.index() + 1).or(end);
                    changes.push(Change::Append(entries));
                }
                Op::Vote { vote, .. } => changes.push(Change::Vote(vote)),
                Op::TruncateFrom { index, .. } => {
                    end = Some(*index);
                    changes.push(Change::TruncateFrom(*index));
                }
                Op::Purge { upto, .. } => {
                    changes.push(Change::Purged(upto));
                    sweep.end = sweep.end.max(upto.index + 1);
                }
            }
        }
        let chunk_end = sweep.end.min(sweep.start.saturating_add(PURGE_CHUNK));
        if chunk_end > sweep.start {
            changes.push(Change::Sweep { from: sweep.start, below: chunk_end });
        }
        let committed = self.take_committed();
        changes.extend(committed.iter().map(Change::Committed));
        self.file.commit(&changes)?;
        self.sweep = chunk_end..sweep.end;
        if let Some(index) = end {
            self.durable_end.store(index, Ordering::Release);
        }
        Ok(())
    }

    /// Note the first failure, in words an operator can act on.
    fn stop(&self, error: &io::Error) {
        if self.stopped.reason().is_some() {
            return;
        }
        let path = self.file.path().display();
        let advice = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free disk space, then restart this agent",
            _ => "mend the disk, then restart this agent",
        };
        let reason = format!("cannot write {path}: {error}; {advice}. Reads are still answered");
        tracing::error!(%error, path = %path, "the replicated log has stopped: no change can be made; {advice}");
        self.stopped.note(reason);
    }
}
