//! The client's journal: which task runs as what, so that the next agent can go on with it.
//!
//! Kept in sled, which may be lost: a journal that will not open is put aside with one warning, and everything in it is
//! found again from live shims, containers and marked processes. Nothing in here is the only copy of anything.
//!
//! ```text
//!  tree "tasks":  <alloc>/<task>  ─►  JSON of Record            one record per task, replaced whole
//! ```

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use model::{AllocId, alloc::TaskState};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Error, restart::Tally};
use crate::driver::{Handle, TaskKey};

/// sled lets go of its lock a moment after the last handle is dropped.
const LOCKED_FOR: Duration = Duration::from_secs(5);
/// It is a few kilobytes; the default cache is a gigabyte.
const CACHE_BYTES: u64 = 4 << 20;

/// How far a task has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Not started, or between two runs.
    #[default]
    Idle,
    /// About to be started as this run: it may or may not have happened.
    Intent(u64),
    Running(Handle),
    /// Over for good.
    Dead,
}

/// What is remembered of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub phase: Phase,
    pub driver: String,
    pub run: u64,
    pub state: TaskState,
    pub tally: Tally,
}

/// The open journal. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    db: sled::Db,
    tasks: sled::Tree,
    rebuilt: bool,
}

impl Journal {
    /// Open, putting a broken one aside. Blocks.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let first = match attempt(dir)? {
            Ok(journal) => return Ok(journal),
            Err(reason) => reason,
        };
        let aside = aside_name(dir);
        warn!(
            journal = %dir.display(),
            aside = %aside.display(),
            reason = %first,
            "the journal of running tasks will not open; it was put aside and is rebuilt from what runs"
        );
        std::fs::rename(dir, &aside)
            .map_err(|source| Error::Io { action: format!("put {} aside", dir.display()), source })?;
        let mut journal = attempt(dir)?.map_err(|reason| Error::Journal { dir: dir.to_owned(), reason })?;
        journal.rebuilt = true;
        Ok(journal)
    }

    /// It was put aside at this start: records are missing that should be there.
    #[must_use]
    pub const fn rebuilt(&self) -> bool {
        self.rebuilt
    }

    fn key(key: &TaskKey) -> Vec<u8> {
        format!("{}/{}", key.alloc, key.task).into_bytes()
    }

    /// Store a record; returns once it would survive the end of this process.
    pub async fn put(&self, key: &TaskKey, record: &Record) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record).map_err(|e| Error::Store(e.to_string()))?;
        self.tasks.insert(Self::key(key), bytes).map_err(|e| Error::Store(e.to_string()))?;
        self.flush().await
    }

    #[must_use]
    pub fn get(&self, key: &TaskKey) -> Option<Record> {
        let bytes = self.tasks.get(Self::key(key)).ok().flatten()?;
        match serde_json::from_slice(&bytes) {
            Ok(record) => Some(record),
            Err(e) => {
                warn!(task = %key, error = %e, "an entry of the journal cannot be read; the task is looked for instead");
                None
            }
        }
    }

    /// Forget an allocation.
    pub async fn forget(&self, alloc: AllocId) -> Result<(), Error> {
        for key in self.tasks.scan_prefix(format!("{alloc}/")).keys().flatten() {
            self.tasks.remove(key).map_err(|e| Error::Store(e.to_string()))?;
        }
        self.flush().await
    }

    /// Every remembered task.
    #[must_use]
    pub fn all(&self) -> Vec<(TaskKey, Record)> {
        let parse = |(k, v): (sled::IVec, sled::IVec)| {
            let text = std::str::from_utf8(&k).ok()?;
            let (alloc, task) = text.split_once('/')?;
            let key = TaskKey { alloc: alloc.parse().ok()?, task: task.into() };
            Some((key, serde_json::from_slice(&v).ok()?))
        };
        self.tasks.iter().flatten().filter_map(parse).collect()
    }

    async fn flush(&self) -> Result<(), Error> {
        self.db.flush_async().await.map(drop).map_err(|e| Error::Store(e.to_string()))
    }
}

fn aside_name(dir: &Path) -> PathBuf {
    let stamp = super::clock::now().0 / 1_000_000;
    dir.with_extension(format!("broken-{stamp}"))
}

/// The outer error is final (another agent holds it); the inner one means that it is broken.
fn attempt(dir: &Path) -> Result<Result<Journal, String>, Error> {
    let deadline = Instant::now() + LOCKED_FOR;
    loop {
        // Broken files make sled panic as often as they make it fail.
        let opened = catch_unwind(AssertUnwindSafe(|| read_whole(dir)));
        match opened {
            Ok(Err(e)) if locked(&e) => {
                if Instant::now() > deadline {
                    return Err(Error::InUse(dir.to_owned()));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(result) => return Ok(result.map_err(|e| e.to_string())),
            Err(_) => return Ok(Err("it panics while being read".into())),
        }
    }
}

fn read_whole(dir: &Path) -> sled::Result<Journal> {
    let db = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None).open()?;
    let tasks = db.open_tree("tasks")?;
    for entry in tasks.iter() {
        entry?;
    }
    Ok(Journal { db, tasks, rebuilt: false })
}

fn locked(e: &sled::Error) -> bool {
    match e {
        sled::Error::Io(e) => {
            e.kind() == std::io::ErrorKind::WouldBlock || e.to_string().contains("could not acquire lock")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128, task: &str) -> TaskKey {
        TaskKey { alloc: AllocId(uuid::Uuid::from_u128(n)), task: task.into() }
    }

    #[tokio::test]
    async fn remembers_across_openings() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let record = Record { phase: Phase::Intent(7), run: 7, ..Record::default() };
        {
            let j = Journal::open(&path).expect("opens");
            j.put(&key(1, "t"), &record).await.expect("stores");
            j.put(&key(2, "t"), &record).await.expect("stores");
            j.forget(key(2, "t").alloc).await.expect("forgets");
        }
        let j = Journal::open(&path).expect("opens again");
        assert_eq!(j.get(&key(1, "t")), Some(record));
        assert_eq!(j.all().len(), 1);
        assert!(!j.rebuilt());
    }

    #[tokio::test]
    async fn a_broken_one_is_put_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        std::fs::create_dir_all(&path).expect("creates");
        std::fs::write(path.join("conf"), "nonsense that is not a configuration").expect("writes");
        std::fs::write(path.join("db"), vec![0xff; 4096]).expect("writes");
        let j = Journal::open(&path).expect("opens a new one");
        assert!(j.rebuilt());
        let aside = std::fs::read_dir(dir.path())
            .expect("lists")
            .flatten()
            .any(|e| e.file_name().to_string_lossy().contains("broken"));
        assert!(aside);
    }
}
