//! `kill -9` of the agent at random moments: same jobs, same allocations, same processes, nothing lost, nothing twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tests::{
    eventually,
    http::Client,
    process::{Agent, Setup},
    say,
};

use crate::{TRINE, echo_job};

const ROUNDS: u32 = 20;

/// Process ids of the http-echo tasks of each allocation, as the kernel sees them.
fn pids(dir: &std::path::Path) -> BTreeMap<String, Vec<i32>> {
    let needle = dir.to_string_lossy().into_owned();
    let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let read =
            |file: &str| std::fs::read(entry.path().join(file)).map(|b| String::from_utf8_lossy(&b).into_owned());
        let (Ok(cmdline), Ok(environ)) = (read("cmdline"), read("environ")) else { continue };
        if !cmdline.split('\0').any(|a| a == "http-echo") || !environ.contains(&needle) {
            continue;
        }
        if let Some(id) = environ.split('\0').find_map(|v| v.strip_prefix("NOMAD_ALLOC_ID=")) {
            found.entry(id.to_owned()).or_default().push(pid);
        }
    }
    found
}

/// Writes keys one after the other, each noted once the agent has acknowledged it.
fn write_keys(url: String, stop: &AtomicBool, acknowledged: &Mutex<Vec<u64>>) {
    let client = Client::with_timeout(Duration::from_millis(500));
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        match client.put(&format!("{url}/{n}"), &n.to_string()) {
            Ok(reply) if reply.status == 200 && reply.body.trim() == "true" => {
                acknowledged.lock().expect("no caller panics").push(n)
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn check_keys(agent: &Agent, acknowledged: &[u64]) {
    let keys = agent.http.get(&agent.catalog_url("/v1/kv/crash/?keys")).and_then(|r| r.json()).expect("keys list");
    let stored: std::collections::BTreeSet<_> =
        keys.as_array().expect("a list").iter().filter_map(|k| k.as_str()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|n| !stored.contains(format!("crash/{n}").as_str())).collect();
    assert!(lost.is_empty(), "acknowledged writes were lost: {lost:?}");
}

#[test]
fn kill_nine_at_random_moments() {
    let seed: u64 = std::env::var("TRINE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    say(&format!("crashes: TRINE_SEED={seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(TRINE, dir.path());
    let mut agent = setup.start();
    agent.run_job(&echo_job(5, "v1"));
    let before: Vec<_> =
        agent.wait_running("echo", 5, Duration::from_secs(30)).iter().map(|a| a["ID"].clone()).collect();
    let processes = pids(dir.path());
    assert_eq!(processes.len(), 5, "{processes:?}");

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writer = {
        let (url, stop, acknowledged) =
            (agent.catalog_url("/v1/kv/crash"), Arc::clone(&stop), Arc::clone(&acknowledged));
        std::thread::spawn(move || write_keys(url, &stop, &acknowledged))
    };
    for round in 0..ROUNDS {
        std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
        agent.kill9();
        agent.restart();
        // Half of the kills hit the start itself.
        if rng.random_bool(0.5) {
            agent.ready();
            let now: Vec<_> =
                agent.wait_running("echo", 5, Duration::from_secs(20)).iter().map(|a| a["ID"].clone()).collect();
            assert_eq!(now, before, "round {round}: other allocations");
            assert_eq!(pids(dir.path()), processes, "round {round}: other processes");
        }
    }
    agent.ready();
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer ends");
    let acknowledged = acknowledged.lock().unwrap().clone();
    check_keys(&agent, &acknowledged);
    let now: Vec<_> = agent.wait_running("echo", 5, Duration::from_secs(20)).iter().map(|a| a["ID"].clone()).collect();
    assert_eq!(now, before);
    assert_eq!(pids(dir.path()), processes);
    // Health and routing come back too.
    eventually("the load balancer answers", Duration::from_secs(10), || {
        agent.http.get(&agent.lb_url("/echo")).and_then(|r| if r.status == 200 { Ok(()) } else { Err(r.body) })
    });
    say(&format!(
        "crashes: {ROUNDS} kills, {} acknowledged writes, 0 lost, 5 tasks with the same pids",
        acknowledged.len()
    ));
}

#[test]
fn starts_are_not_repeated_when_killed_while_placing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(TRINE, dir.path());
    let mut rng = StdRng::seed_from_u64(7);
    let mut agent = setup.start();
    for round in 0..5 {
        agent.run_job(&echo_job(5, &format!("round {round}")));
        std::thread::sleep(Duration::from_millis(rng.random_range(0..150)));
        agent.kill9();
        agent.restart();
        agent.ready();
        agent.wait_running("echo", 5, Duration::from_secs(40));
        let settled = eventually("one process for each allocation", Duration::from_secs(40), || {
            let running: Vec<_> = agent.running("echo")?;
            let processes = pids(dir.path());
            let mut ids: Vec<_> = running.iter().filter_map(|a| a["ID"].as_str().map(str::to_owned)).collect();
            ids.sort();
            if ids.iter().eq(processes.keys()) { Ok(processes) } else { Err(format!("{ids:?} but {processes:?}")) }
        });
        assert!(settled.values().all(|p| p.len() == 1), "round {round}: a task runs twice: {settled:?}");
    }
}
