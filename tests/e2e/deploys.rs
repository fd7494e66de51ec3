//! Requests keep flowing through canary deployments and changes of scale, and none fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tests::{
    eventually,
    http::Client,
    process::{Agent, Setup},
    say,
};

use crate::{TRINE, echo_job};

const DEPLOYS: u32 = 20;
const REQUESTS: u64 = 10_000;

/// What the callers saw.
#[derive(Debug, Default)]
struct Tally {
    stop: AtomicBool,
    sent: AtomicU64,
    failed: AtomicU64,
    first_failure: std::sync::Mutex<Option<String>>,
}

/// Requests until told to stop, paced so that they spread over the whole run.
fn call(url: &str, tally: &Tally) {
    let client = Client::default();
    while !tally.stop.load(Ordering::Relaxed) {
        let answer = client.get(url);
        tally.sent.fetch_add(1, Ordering::Relaxed);
        if !matches!(&answer, Ok(r) if r.status == 200) {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            tally.first_failure.lock().expect("no caller panics").get_or_insert_with(|| format!("{answer:?}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn deployed(agent: &Agent, version: u64) {
    eventually("deployment succeeds", Duration::from_secs(60), || {
        let d = agent.api("/v1/job/echo/deployment")?;
        match (d["JobVersion"].as_u64(), d["Status"].as_str()) {
            (Some(v), Some("successful")) if v == version => Ok(()),
            (_, Some("failed" | "cancelled")) => panic!("{d}\n{}", agent.log_tail()),
            _ => Err(format!("{} {} {}", d["JobVersion"], d["Status"], d["TaskGroups"])),
        }
    });
}

#[test]
fn no_request_fails() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let agent = Setup::new(TRINE, dir.path()).start();
    agent.run_job(&echo_job(5, "v0"));
    agent.wait_running("echo", 5, Duration::from_secs(30));
    deployed(&agent, 0);
    eventually("the route is up", Duration::from_secs(10), || {
        agent.http.get(&agent.lb_url("/echo")).and_then(|r| if r.status == 200 { Ok(()) } else { Err(r.body) })
    });
    let tally = Arc::new(Tally::default());
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (url, tally) = (agent.lb_url("/echo"), Arc::clone(&tally));
            std::thread::spawn(move || call(&url, &tally))
        })
        .collect();
    let mut version = 0;
    for n in 1..=DEPLOYS {
        let count = if n % 4 == 0 { 3 } else { 5 };
        agent.run_job(&echo_job(count, &format!("v{n}")));
        version += 1;
        deployed(&agent, version);
        agent.wait_running("echo", count as usize, Duration::from_secs(30));
        if n % 4 == 2 {
            let scale = serde_json::json!({ "Count": 7, "Target": { "Group": "echo" } }).to_string();
            let reply = agent.http.put(&agent.url("/v1/job/echo/scale"), &scale).expect("scaling answers");
            assert_eq!(reply.status, 200, "{}", reply.body);
            version += 1;
            agent.wait_running("echo", 7, Duration::from_secs(30));
            deployed(&agent, version);
        }
    }
    eventually("enough requests", Duration::from_secs(60), || {
        let sent = tally.sent.load(Ordering::Relaxed);
        if sent >= REQUESTS { Ok(()) } else { Err(format!("{sent} sent")) }
    });
    tally.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().expect("a caller ends");
    }
    let (sent, failed) = (tally.sent.load(Ordering::Relaxed), tally.failed.load(Ordering::Relaxed));
    say(&format!(
        "deploys: {sent} requests through {DEPLOYS} canary deployments and 5 changes of scale, {failed} failed"
    ));
    assert_eq!(failed, 0, "first failure: {:?}\n{}", tally.first_failure.lock().unwrap(), agent.log_tail());
}
