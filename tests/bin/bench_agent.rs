//! Figures of one agent as its users feel them: start, idle memory, registration to DNS, route and blocked query.
//!
//! `cargo run --release -p tests --bin bench-agent`. Prints the rows of docs/benchmarks.md. Bounded: a few seconds each.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use hickory_proto::rr::RecordType;
use tests::{
    dns,
    process::{Agent, Setup},
};

const STARTS: usize = 10;
const REGISTRATIONS: usize = 300;

/// The release binary beside this one.
fn binary() -> PathBuf {
    let me = std::env::current_exe().expect("a process knows its binary");
    me.with_file_name("trine-node")
}

fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort();
    let at = |p: usize| all[(all.len() - 1) * p / 100].as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms of {}", at(50), at(99), at(100), all.len())
}

fn rss_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number of kB") / 1024.0
}

fn starts() {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let setup = Setup::new(&binary().to_string_lossy(), dir.path());
        let started = Instant::now();
        let agent = setup.spawn();
        while agent.api("/v1/nodes").ok().is_none_or(|n| n[0]["Status"] != "ready") {
            std::thread::sleep(Duration::from_millis(1));
        }
        times.push(started.elapsed());
        drop(agent);
    }
    println!("agent start to node ready: {}", percentiles(times));
}

/// An upstream that answers every request with `ok`, one thread a connection.
fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = listener.local_addr().expect("a bound listener has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|n| n > 0) {
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

fn register(agent: &Agent, n: usize, kind: &str, port: u16) {
    let body = serde_json::json!({
        "ID": format!("{kind}-{n}"), "Name": format!("{kind}{n}"), "Address": "127.0.0.1", "Port": port,
        "Tags": [format!("urlprefix-/{kind}{n}")],
    });
    let reply =
        agent.http.put(&agent.catalog_url("/v1/agent/service/register"), &body.to_string()).expect("the agent answers");
    assert_eq!(reply.status, 200, "{}", reply.body);
}

fn measure(agent: &Agent, kind: &str, port: u16, seen: impl Fn(usize) -> bool) -> String {
    let times = (0..REGISTRATIONS)
        .map(|n| {
            let started = Instant::now();
            register(agent, n, kind, port);
            while !seen(n) {
                assert!(started.elapsed() < Duration::from_secs(10), "{kind}{n} was not seen");
            }
            started.elapsed()
        })
        .collect();
    percentiles(times)
}

fn blocked_query(agent: &Agent, port: u16) -> String {
    let times = (0..REGISTRATIONS)
        .map(|n| {
            let index = agent.http.index(&agent.catalog_url("/v1/health/service/none")).expect("an index");
            let url = agent.catalog_url(&format!("/v1/health/service/blocked{n}?index={index}&wait=5s"));
            let client = agent.http.clone();
            let waiter = std::thread::spawn(move || {
                let reply = client.get(&url).expect("the query answers");
                (Instant::now(), reply)
            });
            std::thread::sleep(Duration::from_millis(3));
            let started = Instant::now();
            register(agent, n, "blocked", port);
            let (woken, reply) = waiter.join().expect("the waiter ends");
            assert!(reply.body.contains("blocked"), "{}", reply.body);
            woken.saturating_duration_since(started)
        })
        .collect();
    percentiles(times)
}

fn main() {
    starts();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let agent = Setup::new(&binary().to_string_lossy(), dir.path()).start();
    std::thread::sleep(Duration::from_secs(3));
    println!("idle memory (RSS), all roles: {:.1} MiB", rss_mb(agent.pid()));
    let port = upstream();
    let dns_port = agent.setup.ports.dns;
    let in_dns = |n: usize| {
        dns::ask(dns_port, &format!("dns{n}.service.consul."), RecordType::A).is_ok_and(|m| !m.answers.is_empty())
    };
    println!("register to DNS answer: {}", measure(&agent, "dns", port, in_dns));
    let routed = |n: usize| agent.http.get(&agent.lb_url(&format!("/route{n}"))).is_ok_and(|r| r.status == 200);
    println!("register to routed: {}", measure(&agent, "route", port, routed));
    println!("register to blocked query returns: {}", blocked_query(&agent, port));
    println!("memory after {} registrations: {:.1} MiB", 3 * REGISTRATIONS, rss_mb(agent.pid()));
}
