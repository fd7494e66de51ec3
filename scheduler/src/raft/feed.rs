//! The newest applied entries, kept for agents that follow the log.
//!
//! Bounded twice. A follower that asks for an entry that has left gets a snapshot instead.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Entries kept; at a thousand changes a second, a follower may be away for ten seconds and resume.
const ENTRIES: usize = 16_384;
const BYTES: usize = 64 << 20;

/// One applied entry. `command` is empty for entries of Raft's own (a new term, a membership change).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    pub index: u64,
    pub command: Bytes,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Fed>,
    bytes: usize,
    /// The newest index that is no longer here (or never was).
    before: u64,
}

/// The ring.
#[derive(Debug, Default)]
pub struct Feed(Mutex<Ring>);

impl Feed {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add a batch, in order and without gaps.
    pub fn push(&self, batch: impl IntoIterator<Item = Fed>) {
        let mut ring = self.ring();
        for fed in batch {
            ring.bytes += fed.command.len();
            ring.entries.push_back(fed);
        }
        while ring.entries.len() > ENTRIES || ring.bytes > BYTES {
            let Some(old) = ring.entries.pop_front() else { break };
            ring.bytes -= old.command.len();
            ring.before = old.index;
        }
    }

    /// Start again after a snapshot was installed at `index`.
    pub fn reset(&self, index: u64) {
        *self.ring() = Ring { before: index, ..Ring::default() };
    }

    /// Up to `max_entries` entries after `index`, and no more than about `max_bytes`; `None` when some of them are
    /// gone.
    pub fn after(&self, index: u64, max_entries: usize, max_bytes: usize) -> Option<Vec<Fed>> {
        let ring = self.ring();
        if index < ring.before {
            return None;
        }
        let first = ring.entries.front().map_or(index + 1, |f| f.index);
        let skip = usize::try_from((index + 1).saturating_sub(first)).ok()?;
        let mut bytes = 0;
        let taken = ring.entries.iter().skip(skip).take(max_entries).take_while(|f| {
            let fits = bytes == 0 || bytes + f.command.len() <= max_bytes;
            bytes += f.command.len().max(1);
            fits
        });
        Some(taken.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(index: u64, len: usize) -> Fed {
        Fed { index, command: Bytes::from(vec![0; len]) }
    }

    fn indexes(feed: &Feed, after: u64) -> Option<Vec<u64>> {
        Some(feed.after(after, 100_000, usize::MAX)?.iter().map(|f| f.index).collect())
    }

    #[test]
    fn resumes_where_the_follower_was() {
        let feed = Feed::default();
        feed.push((1..=10).map(|i| fed(i, 3)));
        assert_eq!(indexes(&feed, 7), Some(vec![8, 9, 10]));
        assert_eq!(indexes(&feed, 10), Some(vec![]));
        assert_eq!(feed.after(0, 4, usize::MAX).map(|v| v.len()), Some(4));
    }

    #[test]
    fn what_has_left_needs_a_snapshot() {
        let feed = Feed::default();
        feed.push((1..=ENTRIES as u64 + 5).map(|i| fed(i, 1)));
        assert_eq!(indexes(&feed, 4), None);
        assert_eq!(indexes(&feed, 5).map(|v| v[0]), Some(6));
        feed.reset(90_000);
        assert_eq!(indexes(&feed, 89_999), None);
        assert_eq!(indexes(&feed, 90_000), Some(vec![]));
    }

    #[test]
    fn is_bounded_in_bytes_and_never_returns_nothing_for_a_large_entry() {
        let feed = Feed::default();
        feed.push((1..=3).map(|i| fed(i, BYTES / 2)));
        assert_eq!(indexes(&feed, 0), None, "the first was dropped");
        assert_eq!(feed.after(1, 10, 1024).map(|v| v.len()), Some(1));
    }
}
