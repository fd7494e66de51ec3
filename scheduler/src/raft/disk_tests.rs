//! A disk that fails: the log stops once and for all, with one message, and reads go on.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use model::replica::{ProposeError, Replica};
use redb::{StorageBackend, backends::InMemoryBackend};
use tempfile::TempDir;

use super::{
    RaftReplica,
    directory::Directory,
    file::{Loaded, LogFile},
    host::Opened,
    snapshot::Snapshots,
    tests::{config, put},
};

/// A disk with two switches and a counter.
#[derive(Debug, Default)]
struct Switches {
    full: AtomicBool,
    broken: AtomicBool,
    syncs: AtomicUsize,
}

#[derive(Debug)]
struct Flaky {
    inner: InMemoryBackend,
    switches: Arc<Switches>,
}

impl StorageBackend for Flaky {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.switches.syncs.fetch_add(1, Ordering::SeqCst);
        if self.switches.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("Input/output error"));
        }
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.switches.full.load(Ordering::SeqCst) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.inner.write(offset, data)
    }
}

async fn host(dir: &TempDir, switches: &Arc<Switches>) -> Arc<RaftReplica> {
    let directory = Directory::claim(dir.path()).unwrap();
    let backend = Flaky { inner: InMemoryBackend::new(), switches: Arc::clone(switches) };
    let opened = Opened {
        snapshots: Snapshots::open(directory.snapshot()).unwrap(),
        file: Arc::new(LogFile::with_backend(backend)),
        loaded: Loaded::default(),
        directory,
    };
    RaftReplica::host(config(dir.path()), opened).await.unwrap()
}

async fn stops_for_good(fail: impl Fn(&Switches, bool), advice: &str) {
    let dir = TempDir::new().unwrap();
    let switches = Arc::new(Switches::default());
    let raft = host(&dir, &switches).await;
    raft.propose(put("before", "v")).await.unwrap();
    let index = raft.snapshot().index;
    assert_eq!(raft.stopped(), None);

    fail(&switches, true);
    let error = raft.propose(put("during", "v")).await.unwrap_err();
    assert!(matches!(&error, ProposeError::Stopped(why) if why.contains(advice)), "{error}");
    let syncs = switches.syncs.load(Ordering::SeqCst);

    // Mended or not: what a failed fsync has dropped cannot be known, so nothing is tried again.
    fail(&switches, false);
    for _ in 0..3 {
        let error = raft.propose(put("after", "v")).await.unwrap_err();
        assert!(matches!(&error, ProposeError::Stopped(why) if why.contains(advice)), "{error}");
    }
    assert_eq!(switches.syncs.load(Ordering::SeqCst), syncs);
    assert!(raft.metrics().stopped.is_some());
    super::tests::eventually(|| Some(()).filter(|()| !raft.leadership().borrow().is_leader)).await;

    let state = raft.snapshot();
    assert_eq!(state.index, index, "reads are answered, and nothing unacknowledged is in them");
    assert!(state.kv.contains_key("before") && !state.kv.contains_key("during"));
    raft.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_stops_the_log() {
    stops_for_good(|s, on| s.full.store(on, Ordering::SeqCst), "free disk space").await;
}

#[tokio::test]
async fn a_failed_fsync_stops_the_log() {
    stops_for_good(|s, on| s.broken.store(on, Ordering::SeqCst), "mend the disk").await;
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_stops_the_log_and_says_so() {
    let dir = TempDir::new().unwrap();
    let raft = RaftReplica::open(config(dir.path())).await.unwrap();
    raft.propose(put("before", "v")).await.unwrap();
    // Where the new snapshot is to be written there is something that is no file.
    let obstacle = dir.path().join("raft/snapshot.tmp");
    std::fs::create_dir(&obstacle).unwrap();
    let error = raft.take_snapshot().await.unwrap_err();
    assert!(matches!(&error, ProposeError::Stopped(why) if why.contains("raft/snapshot")), "{error}");
    let why = super::tests::eventually(|| raft.stopped()).await;
    assert!(why.contains("restart this agent"), "{why}");
    assert!(raft.propose(put("after", "v")).await.is_err());
    assert!(raft.snapshot().kv.contains_key("before"));
    raft.shutdown().await;

    std::fs::remove_dir(&obstacle).unwrap();
    let raft = RaftReplica::open(config(dir.path())).await.unwrap();
    assert!(raft.snapshot().kv.contains_key("before"));
    raft.shutdown().await;
}
