//! How many proposals per second one voter commits: 512-byte values, each acknowledged only once it is durable.
//!
//! `cargo run --release -p scheduler --example bench_propose [SECONDS] [DIRECTORY]` prints one line per number of
//! concurrent clients. The directory decides which disk is measured; the default is a new one under the system's
//! temporary directory, which may be memory.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::{
    Command, Replica, Timestamp,
    kv::{KvGuard, KvOp},
};
use scheduler::raft::{Config, RaftReplica};

const VALUE: usize = 512;
const CLIENTS: [usize; 3] = [1, 64, 1024];
/// Keys are written again and again, so that the state (and its snapshots) stay small.
const KEYS: u64 = 10_000;
const DEFAULT_SECONDS: u64 = 3;
const MAX_SECONDS: u64 = 60;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn put(n: u64) -> Command {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let op = KvOp::Put {
        key: format!("bench/{}", n % KEYS),
        value: vec![0x5a; VALUE].into(),
        flags: 0,
        guard: KvGuard::None,
    };
    Command::Kv { ops: vec![op], at: Timestamp::ZERO + now }
}

/// One client: propose, wait, again. Returns its latencies.
async fn client(raft: Arc<RaftReplica>, next: Arc<AtomicU64>, until: Instant) -> Result<Vec<Duration>, AnyError> {
    let mut taken = Vec::new();
    while Instant::now() < until {
        let started = Instant::now();
        raft.propose(put(next.fetch_add(1, Ordering::Relaxed))).await?;
        taken.push(started.elapsed());
    }
    Ok(taken)
}

async fn measure(raft: &Arc<RaftReplica>, clients: usize, duration: Duration) -> Result<(), AnyError> {
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> =
        (0..clients).map(|_| tokio::spawn(client(Arc::clone(raft), Arc::clone(&next), started + duration))).collect();
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    taken.sort_unstable();
    let at = |share: f64| {
        let place = ((taken.len() as f64 * share) as usize).min(taken.len().saturating_sub(1));
        taken.get(place).map_or(0.0, |d| d.as_secs_f64() * 1000.0)
    };
    println!(
        "{clients:>8} {:>14.0} {:>10.2} {:>10.2} {:>10.2}",
        taken.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(Ok(DEFAULT_SECONDS), |s| s.parse())?.clamp(1, MAX_SECONDS);
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("trine-bench-{}", std::process::id()));
    let config = Config::new(dir.clone(), "bench".to_owned(), "127.0.0.1:4647".to_owned());
    let raft = RaftReplica::open(config).await?;
    println!("one voter in {}, {VALUE} B values, {seconds} s each", dir.display());
    println!("{:>8} {:>14} {:>10} {:>10} {:>10}", "clients", "proposals/s", "p50 ms", "p99 ms", "max ms");
    let mut result = Ok(());
    for clients in CLIENTS {
        result = measure(&raft, clients, Duration::from_secs(seconds)).await;
        if result.is_err() {
            break;
        }
    }
    raft.shutdown().await;
    std::fs::remove_dir_all(&dir)?;
    result
}
