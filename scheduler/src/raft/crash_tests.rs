//! `kill -9` at random moments: every acknowledged change is there afterwards.
//!
//! The parent starts this very test binary as a child that proposes and prints what was acknowledged, kills it, opens
//! the directory itself and looks. (This keeps the page cache: it tests recovery, not the loss of power.)

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use model::Replica;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use super::{
    Config, RaftReplica,
    tests::{config, put},
};

const ROUNDS: u32 = 20;
const DIR: &str = "TRINE_CRASH_DIR";
const FIRST: &str = "TRINE_CRASH_FIRST";
const CLIENTS: u64 = 8;
/// Small, so that kills also hit snapshots, purges and what they leave.
const SNAPSHOT_AFTER: u64 = 64;

fn value(n: u64) -> String {
    format!("value-{n}-{}", "x".repeat(usize::try_from(n % 700).unwrap()))
}

fn crash_config(dir: PathBuf) -> Config {
    Config { snapshot_after: SNAPSHOT_AFTER, ..config(&dir) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test below"]
async fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let raft = RaftReplica::open(crash_config(dir.into())).await.unwrap();
    let next = AtomicU64::new(first);
    let client = || async {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            raft.propose(put(&format!("k{n}"), &value(n))).await.unwrap();
            // One write, so that lines are whole.
            std::io::stdout().write_all(format!("\nacked {n}\n").as_bytes()).unwrap();
        }
    };
    futures_util::future::join_all((0..CLIENTS).map(|_| client())).await;
}

/// Run the child, kill it `after` its first acknowledgement (or, with `early`, after its start), and return what it
/// was told.
fn killed(dir: &TempDir, first: u64, after: Duration, early: bool) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["raft::crash_tests::writer", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir.path())
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let parse = |line: &str| line.strip_prefix("acked ").and_then(|n| n.parse::<u64>().ok());
    let mut acked = Vec::new();
    if !early {
        acked.extend(lines.by_ref().map_while(Result::ok).find_map(|l| parse(&l)));
        assert!(!acked.is_empty(), "the child acknowledged something before it ended");
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    acked.extend(lines.map_while(Result::ok).filter_map(|l| parse(&l)));
    child.wait().unwrap();
    acked
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = TempDir::new().unwrap();
    let mut expected = BTreeMap::new();
    let mut first = 0;
    for round in 0..ROUNDS {
        let early = round % 5 == 4;
        let after = Duration::from_millis(random.random_range(0..150));
        let acked = killed(&dir, first, after, early);
        expected.extend(acked.iter().map(|n| (*n, value(*n))));
        first = first.max(acked.iter().max().map_or(first, |n| n + 1 + CLIENTS));
        // Every second round the child itself recovers from the kill, instead of this process.
        if round % 2 == 1 || round == ROUNDS - 1 {
            let raft = RaftReplica::open(crash_config(dir.path().to_owned())).await.unwrap();
            let state = raft.snapshot();
            for (n, value) in &expected {
                let entry = state.kv.get(format!("k{n}").as_str());
                let found = entry.map(|e| e.value.clone());
                assert_eq!(
                    found.as_deref(),
                    Some(value.as_bytes()),
                    "k{n} was acknowledged (round {round}, seed {seed})"
                );
            }
            raft.shutdown().await;
        }
    }
    assert!(expected.len() > 100, "the children made progress: {}", expected.len());
}
