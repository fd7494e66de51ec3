//! Who waits for what: topics to sleepers, so that a commit wakes only those it concerns.
//!
//! A topic has an entry only while somebody waits for it; the last sleeper to leave removes it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use crate::{id::Index, topic::Topic};

type Table = HashMap<Topic, Vec<Arc<Notify>>>;

/// The registry of sleepers, and the index of the last published state.
#[derive(Debug)]
pub struct Waiters {
    table: Mutex<Table>,
    applied: watch::Sender<Index>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { table: Mutex::default(), applied: watch::Sender::new(Index(0)) }
    }
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is valid after any panic: every change to it is one push or one retain.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Be woken by the next commit that touches one of `topics`.
    #[must_use]
    pub fn subscribe(&self, topics: &[Topic]) -> Sleeper<'_> {
        let bell = Arc::new(Notify::new());
        let mut table = self.lock();
        for t in topics {
            table.entry(t.clone()).or_default().push(Arc::clone(&bell));
        }
        Sleeper { waiters: self, topics: topics.to_vec(), bell }
    }

    /// Called once per published state, after it can be read.
    pub fn published(&self, index: Index, touched: &BTreeSet<Topic>) {
        {
            let table = self.lock();
            for bell in touched.iter().filter_map(|t| table.get(t)).flatten() {
                bell.notify_one();
            }
        }
        self.applied.send_replace(index);
    }

    /// Wake everybody: the state was replaced as a whole.
    pub fn replaced(&self, index: Index) {
        for bell in self.lock().values().flatten() {
            bell.notify_one();
        }
        self.applied.send_replace(index);
    }

    /// Follow every published state (leader loops, replicas).
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Index> {
        self.applied.subscribe()
    }

    /// How many subscriptions exist; a gauge.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A subscription; dropping it ends it.
#[derive(Debug)]
pub struct Sleeper<'a> {
    waiters: &'a Waiters,
    topics: Vec<Topic>,
    bell: Arc<Notify>,
}

impl Sleeper<'_> {
    /// Until one of the topics is touched. A touch between `subscribe` and `wait` counts.
    pub async fn wait(&mut self) {
        self.bell.notified().await;
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut table = self.waiters.lock();
        for t in &self.topics {
            if let Some(bells) = table.get_mut(t) {
                bells.retain(|b| !Arc::ptr_eq(b, &self.bell));
                if bells.is_empty() {
                    table.remove(t);
                }
            }
        }
    }
}
