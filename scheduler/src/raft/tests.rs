//! The Raft host on a real directory: openraft's own storage suite, restarts, compaction, and every bad directory.

use std::{fs, path::Path, time::Duration};

use model::{
    Timestamp,
    id::Index,
    kv::{KvGuard, KvOp},
    replica::Replica,
};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::*;
use crate::Error;

pub fn config(dir: &Path) -> Config {
    Config::new(dir.to_owned(), "test".to_owned(), "127.0.0.1:4647".to_owned())
}

pub fn put(key: &str, value: &str) -> model::Command {
    let op = KvOp::Put {
        key: key.to_owned(),
        value: bytes::Bytes::copy_from_slice(value.as_bytes()),
        flags: 0,
        guard: KvGuard::None,
    };
    model::Command::Kv { ops: vec![op], at: Timestamp::from_secs(1) }
}

async fn open(dir: &Path) -> std::sync::Arc<RaftReplica> {
    RaftReplica::open(config(dir)).await.unwrap()
}

/// A damaged file may never be opened as if it were whole; and the message says what to do.
async fn refused(dir: &Path) -> String {
    let error = RaftReplica::open(config(dir)).await.expect_err("this directory must be refused");
    error.to_string()
}

mod suite {
    use super::*;
    use crate::raft::{
        file::LogFile,
        log::LogStore,
        machine::{Machine, Published},
        snapshot::Snapshots,
        types::TypeConfig,
        writer,
    };

    struct Builder;

    impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
        async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<TypeConfig>> {
            let dir = TempDir::new().unwrap();
            let (file, loaded) = LogFile::open(&dir.path().join("log.redb")).unwrap();
            let file = std::sync::Arc::new(file);
            let writer = writer::start(file.clone(), &loaded).unwrap();
            let snapshots = Snapshots::open(dir.path().join("snapshot")).unwrap();
            let machine = Machine::new(std::sync::Arc::new(Published::new()), snapshots);
            Ok((dir, LogStore::new(file, &loaded, &writer), machine))
        }
    }

    #[test]
    fn openrafts_storage_suite_passes() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(Suite::test_all(Builder)).unwrap();
    }
}

#[tokio::test]
async fn what_was_proposed_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    assert!(raft.leadership().borrow().is_leader, "a single voter leads once it is open");
    assert_eq!(raft.leadership().borrow().leader.as_deref(), Some("127.0.0.1:4647"));
    for n in 0..50 {
        let applied = raft.propose(put(&format!("k{n}"), "v")).await.unwrap();
        assert_eq!(raft.snapshot().index, applied.index, "an answered proposal can be read");
    }
    let before = raft.snapshot();
    raft.shutdown().await;
    assert!(raft.propose(put("late", "v")).await.is_err());

    let raft = open(dir.path()).await;
    let after = raft.snapshot();
    assert_eq!(before.kv, after.kv);
    assert!(after.index > before.index, "the new term has an entry of its own");
    raft.shutdown().await;
}

#[tokio::test]
async fn a_snapshot_shortens_the_log_and_carries_the_state() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    let proposals = (0..3_500).map(|n| raft.propose(put(&format!("k{n}"), "v")));
    for result in futures_util::future::join_all(proposals).await {
        result.unwrap();
    }
    let at = raft.take_snapshot().await.unwrap();
    assert!(at >= Index(3_500));
    let purged = eventually(|| Some(raft.metrics().purged_index).filter(|p| *p >= 1_000)).await;
    raft.propose(put("after", "v")).await.unwrap();
    let before = raft.snapshot();
    raft.shutdown().await;

    let raft = open(dir.path()).await;
    assert_eq!(raft.snapshot().kv, before.kv);
    assert!(raft.metrics().purged_index >= purged);
    assert_eq!(raft.metrics().last_snapshot_index, at.0);
    raft.shutdown().await;
}

#[tokio::test]
async fn the_policy_takes_snapshots_by_itself() {
    let dir = TempDir::new().unwrap();
    let raft = RaftReplica::open(Config { snapshot_after: 100, ..config(dir.path()) }).await.unwrap();
    for n in 0..300 {
        raft.propose(put(&format!("k{n}"), "v")).await.unwrap();
    }
    eventually(|| Some(()).filter(|()| raft.metrics().last_snapshot_index >= 200)).await;
    raft.shutdown().await;
}

pub async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_second_agent_is_told_so() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    let error = RaftReplica::open(config(dir.path())).await.expect_err("locked");
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    raft.shutdown().await;
    open(dir.path()).await.shutdown().await;
}

#[tokio::test]
async fn bad_directories_are_refused_with_advice() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    for n in 0..200 {
        raft.propose(put(&format!("k{n}"), "some value")).await.unwrap();
    }
    raft.take_snapshot().await.unwrap();
    raft.shutdown().await;
    let root = dir.path().join("raft");

    let spoil = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = root.join(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        move || fs::write(&path, whole).unwrap()
    };
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, &str, Damage); 9] = [
        ("snapshot", "snapshot is damaged: its checksum", |b| {
            let middle = b.len() / 2;
            b[middle] ^= 1;
        }),
        ("snapshot", "snapshot is damaged: it is cut short", |b| b.truncate(40)),
        ("snapshot", "newer than this binary's 1", |b| b[8] = 9),
        ("snapshot", "does not begin as a snapshot", |b| b[0] = 0),
        ("log.redb", "log.redb is damaged", |b| b[..512].fill(7)),
        ("log.redb", "log.redb is damaged", |b| b.iter_mut().skip(4096).for_each(|x| *x ^= 0xff)),
        ("VERSION", "was not written by trine", |b| *b = b"hello".to_vec()),
        ("VERSION", "newer than this binary's 1", |b| *b = b"trine raft 2\n".to_vec()),
        ("VERSION", "VERSION is damaged: no cluster id", |b| *b = b"trine raft 1\n".to_vec()),
    ];
    for (name, expected, damage) in cases {
        let mend = spoil(name, &damage);
        let message = refused(dir.path()).await;
        assert!(message.contains(expected), "{name}: {message}");
        assert!(message.contains("mv "), "says what to do: {message}");
        mend();
    }
    let away = root.join("away");
    fs::rename(root.join("VERSION"), &away).unwrap();
    assert!(refused(dir.path()).await.contains("no VERSION file"));
    fs::rename(&away, root.join("VERSION")).unwrap();
    fs::rename(root.join("log.redb"), &away).unwrap();
    assert!(refused(dir.path()).await.contains("the log is gone"));
    fs::rename(&away, root.join("log.redb")).unwrap();
    let raft = open(dir.path()).await;
    assert_eq!(raft.snapshot().kv.len(), 200, "mended, it opens as it was");
    raft.shutdown().await;
}
