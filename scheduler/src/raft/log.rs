//! openraft's log store: an in-memory tail in front of the file, and the queue to the writer thread.
//!
//! An entry can be read as soon as `append` returns, long before it is durable. The tail holds every entry that is
//! not yet in the file and the newest ones that are; older ones are read from the file.

use std::{
    collections::VecDeque,
    fmt, io,
    ops::{Bound, RangeBounds},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    file::{Loaded, LogFile},
    types::{Entry, LogId, Payload, TypeConfig, Vote},
    writer::{Op, Writer},
};

/// Durable entries kept in memory: what is applied next, and what a follower one second behind asks for.
const TAIL_ENTRIES: usize = 4096;
const TAIL_BYTES: usize = 16 << 20;
/// Bytes of entries given to one reader at once.
const READ_BYTES: usize = 4 << 20;

/// A handle; clones share one log.
#[derive(Clone, Debug)]
pub struct LogStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Arc<LogFile>,
    queue: mpsc::Sender<Op>,
    durable_end: Arc<AtomicU64>,
    committed: Arc<Mutex<Option<LogId>>>,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
}

impl LogStore {
    pub fn new(file: Arc<LogFile>, loaded: &Loaded, writer: &Writer) -> Self {
        Self(Arc::new(Shared {
            file,
            queue: writer.queue.clone(),
            durable_end: Arc::clone(&writer.durable_end),
            committed: Arc::clone(&writer.committed),
            tail: Mutex::new(Tail {
                entries: VecDeque::new(),
                bytes: 0,
                vote: loaded.vote,
                committed: loaded.committed,
                purged: loaded.purged,
                last: loaded.last,
            }),
        }))
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Every change to the tail is complete before anything can panic.
        self.0.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, op: Op) -> io::Result<()> {
        self.0.queue.send(op).await.map_err(|_| io::Error::other("the log writer has ended"))
    }

    async fn sent(&self, op: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Op) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.send(op(done)).await?;
        written.await.map_err(|_| io::Error::other("the log writer has ended"))?
    }

    /// Entries of `from..end`, possibly fewer than asked once `max_bytes` is passed.
    fn read(&self, from: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (from, end, mut recent) = {
            let tail = self.tail();
            let first = tail.purged.map_or(0, |p| p.index + 1);
            let next = tail.last.map_or(0, |l| l.index + 1);
            let (from, end) = (from.max(first), end.min(next));
            let in_tail = tail.entries.front().map_or(next, RaftEntry::index);
            let skip = usize::try_from(from.saturating_sub(in_tail)).unwrap_or(usize::MAX);
            let take = usize::try_from(end.saturating_sub(from.max(in_tail))).unwrap_or(usize::MAX);
            let recent: Vec<_> = tail.entries.iter().skip(skip).take(take).cloned().collect();
            (from, end.min(in_tail), recent)
        };
        if from >= end {
            truncate_to(&mut recent, max_bytes);
            return Ok(recent);
        }
        // Only a start or a follower far behind comes here; the pages are in the page cache, and this is Raft's own
        // runtime, so the read is not sent to another thread.
        let (mut found, all) = self.0.file.read(from, end, max_bytes)?;
        if all {
            found.append(&mut recent);
        }
        truncate_to(&mut found, max_bytes);
        Ok(found)
    }
}

fn size(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(command) => command.0.len() + 64,
        _ => 256,
    }
}

/// Keep the first entries, at least one, whose sizes add up to `max_bytes`.
fn truncate_to(entries: &mut Vec<Entry>, max_bytes: usize) {
    let mut bytes = 0usize;
    let keep = entries.iter().take_while(|e| {
        let fits = bytes < max_bytes;
        bytes += size(e);
        fits
    });
    let keep = keep.count();
    entries.truncate(keep);
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        self.bytes += size(&entry);
        self.last = Some(entry.log_id);
        self.entries.push_back(entry);
    }

    /// Forget the oldest entries that are in the file, beyond what is worth keeping.
    fn shrink(&mut self, durable_end: u64) {
        while self.entries.len() > TAIL_ENTRIES || self.bytes > TAIL_BYTES {
            match self.entries.front() {
                Some(front) if front.index() < durable_end => self.pop_front(),
                _ => return,
            }
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= size(&entry);
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let from = match range.start_bound() {
            Bound::Included(i) => *i,
            Bound::Excluded(i) => i + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(i) => i.saturating_add(1),
            Bound::Excluded(i) => *i,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.tail().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.sent(|done| Op::Vote { vote, done }).await?;
        self.tail().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(id) = committed else { return Ok(()) };
        self.tail().committed = Some(id);
        *self.0.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.tail().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut tail = self.tail();
            for entry in &entries {
                tail.push(entry.clone());
            }
            tail.shrink(self.0.durable_end.load(Ordering::Acquire));
        }
        self.send(Op::Append { entries, done: callback }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let index = last.map_or(0, |l| l.index + 1);
        {
            let mut tail = self.tail();
            if last >= tail.last {
                return Ok(());
            }
            while tail.entries.back().is_some_and(|e| e.index() >= index) {
                if let Some(entry) = tail.entries.pop_back() {
                    tail.bytes -= size(&entry);
                }
            }
            tail.last = last.max(tail.purged);
        }
        self.sent(|done| Op::TruncateFrom { index, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.sent(|done| Op::Purge { upto, done }).await?;
        let mut tail = self.tail();
        while tail.entries.front().is_some_and(|e| e.index() <= upto.index) {
            tail.pop_front();
        }
        tail.purged = tail.purged.max(Some(upto));
        tail.last = tail.last.max(Some(upto));
        Ok(())
    }
}
