//! Probes against real sockets, the loop, and the thresholds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use model::{catalog::CheckDefinition, check::Verdict, service::Probe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{verdict::Tally, *};

fn definition(probe: Probe, target: String) -> CheckDefinition {
    CheckDefinition {
        probe,
        target,
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        success_before_passing: 0,
        failures_before_warning: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
        disable_redirects: false,
    }
}

fn get() -> Probe {
    Probe::Http {
        method: "GET".into(),
        scheme: "http".into(),
        path: "/".into(),
        headers: [("X-A".to_owned(), vec!["1".to_owned()])].into(),
        body: String::new(),
        tls_skip_verify: false,
    }
}

/// A server that gives these answers, one per connection, then closes; returns its address and what it was asked.
async fn server(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("has an address").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let mut buf = vec![0; 4096];
            let n = stream.read(&mut buf).await.expect("reads");
            log.lock().expect("locks").push(String::from_utf8_lossy(&buf[..n]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (addr, asked)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn one(def: &CheckDefinition) -> Finding {
    probe(def, &NoScripts("no scripts here".into())).await
}

#[tokio::test]
async fn http_statuses_become_verdicts() {
    for (status, verdict) in [
        ("200 OK", Verdict::Passing),
        ("204 No Content", Verdict::Passing),
        ("429 Too Many Requests", Verdict::Warning),
        ("500 Internal Server Error", Verdict::Critical),
        ("302 Found", Verdict::Critical),
    ] {
        let body = if status.starts_with("204") { "" } else { "hello" };
        let (addr, asked) = server(vec![answer(status, body)]).await;
        let found = one(&definition(get(), format!("http://{addr}/h?x=1"))).await;
        assert_eq!(found.verdict, verdict, "{status}: {}", found.output);
        assert!(found.output.starts_with(&format!("HTTP GET http://{addr}/h?x=1: {status}")), "{}", found.output);
        let asked = asked.lock().expect("locks")[0].to_lowercase();
        assert!(asked.starts_with("get /h?x=1 http/1.1") && asked.contains("x-a: 1") && asked.contains(&addr));
    }
}

#[tokio::test]
async fn redirects_stay_on_the_host() {
    let found = "HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n".to_owned();
    let (addr, asked) = server(vec![found.clone(), answer("200 OK", "")]).await;
    assert_eq!(one(&definition(get(), format!("http://{addr}/"))).await.verdict, Verdict::Passing);
    assert!(asked.lock().expect("locks")[1].starts_with("GET /next "));

    let (addr, _) = server(vec![found.clone()]).await;
    let def = CheckDefinition { disable_redirects: true, ..definition(get(), format!("http://{addr}/")) };
    assert_eq!(one(&def).await.verdict, Verdict::Critical);

    let away = found.replace("/next", "http://169.254.169.254/latest");
    let (addr, _) = server(vec![away]).await;
    assert_eq!(one(&definition(get(), format!("http://{addr}/"))).await.verdict, Verdict::Critical);
}

#[tokio::test]
async fn output_is_bounded_and_endless_bodies_end() {
    let (addr, _) = server(vec![answer("200 OK", &"é".repeat(100_000))]).await;
    let found = one(&definition(get(), format!("http://{addr}/"))).await;
    assert_eq!(found.verdict, Verdict::Passing);
    assert!(found.output.len() <= OUTPUT_MAX);
}

#[tokio::test]
async fn a_server_that_never_answers_is_critical_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("has an address");
    let def = CheckDefinition { timeout: Duration::from_millis(50), ..definition(get(), format!("http://{addr}/")) };
    let found = one(&def).await;
    assert_eq!(found.verdict, Verdict::Critical);
    assert!(found.output.contains("no answer within 50ms"), "{}", found.output);
}

#[tokio::test]
async fn what_is_not_built_or_not_there_says_so() {
    let found = one(&definition(get(), "https://127.0.0.1:1/".into())).await;
    assert!(found.verdict == Verdict::Critical && found.output.contains("https checks are not built"));
    let found = one(&definition(get(), "ftp://x/".into())).await;
    assert!(found.output.contains("must begin with http://"), "{}", found.output);
    let grpc = Probe::Grpc { service: String::new(), tls: true };
    assert!(one(&definition(grpc, "127.0.0.1:1".into())).await.output.contains("not built"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("has an address").to_string();
    assert_eq!(one(&definition(Probe::Tcp, addr.clone())).await.verdict, Verdict::Passing);
    drop(listener);
    assert_eq!(one(&definition(Probe::Tcp, addr)).await.verdict, Verdict::Critical);
}

struct Script(Result<(i32, String), String>);

impl ScriptRunner for Script {
    fn run(&self, _: &str, _: &[String], _: Duration) -> BoxFuture<'_, Result<(i32, String), String>> {
        let result = self.0.clone();
        Box::pin(async move { result })
    }
}

#[tokio::test]
async fn exit_codes_become_verdicts() {
    let def = definition(Probe::Script { command: "/bin/x".into(), args: Vec::new() }, String::new());
    for (code, verdict) in [(0, Verdict::Passing), (1, Verdict::Warning), (2, Verdict::Critical)] {
        assert_eq!(probe(&def, &Script(Ok((code, "out".into())))).await, Finding::new(verdict, "out"));
    }
    let failed = probe(&def, &Script(Err("no such file".into()))).await;
    assert_eq!(failed, Finding::critical("/bin/x: no such file"));
}

async fn grpc_server(status: u8) -> String {
    use http_body_util::Full;
    use hyper::{Response, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("has an address").to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepts");
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let frame = bytes::Bytes::from(vec![0, 0, 0, 0, 2, 8, status]);
            Response::builder().header("content-type", "application/grpc").body(Full::new(frame))
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
    addr
}

#[tokio::test]
async fn grpc_serving_passes() {
    let grpc = || Probe::Grpc { service: "web".into(), tls: false };
    assert_eq!(one(&definition(grpc(), grpc_server(1).await)).await.verdict, Verdict::Passing);
    let not_serving = one(&definition(grpc(), grpc_server(2).await)).await;
    assert!(not_serving.verdict == Verdict::Critical && not_serving.output.contains("NOT_SERVING"));
}

#[tokio::test]
async fn the_first_result_and_changes_are_reported_and_nothing_else() {
    let ok = || answer("200 OK", "");
    let bad = || answer("503 Service Unavailable", "");
    let (addr, asked) = server(vec![ok(), ok(), ok(), bad(), bad(), ok()]).await;
    let (tx, mut rx) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let def = definition(get(), format!("http://{addr}/"));
    let task =
        tokio::spawn(run("c".into(), def, Verdict::Critical, Arc::new(NoScripts(String::new())), tx, cancel.clone()));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let report = tokio::time::timeout(Duration::from_secs(10), rx.recv()).await.expect("in time").expect("open");
        seen.push(report.verdict);
    }
    assert_eq!(seen, [Verdict::Passing, Verdict::Critical, Verdict::Passing]);
    assert_eq!(asked.lock().expect("locks").len(), 6);
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("ends").expect("no panic");
}

#[test]
fn thresholds_count_in_a_row() {
    use Verdict::{Critical as C, Passing as P, Warning as W};
    let def = CheckDefinition {
        success_before_passing: 2,
        failures_before_warning: 2,
        failures_before_critical: 3,
        ..definition(Probe::Tcp, String::new())
    };
    let run = |initial, results: &[Verdict]| {
        let mut tally = Tally::new(&def, initial);
        results.iter().map(|r| tally.count(*r)).collect::<Vec<_>>()
    };
    assert_eq!(run(C, &[P, C, C, C, P, P]), [P, P, W, C, C, P]);
    assert_eq!(run(P, &[C, P, C, P, P, W]), [C, C, C, C, P, W]);
    let plain = definition(Probe::Tcp, String::new());
    let mut tally = Tally::new(&plain, P);
    assert_eq!([C, W, P, C].map(|r| tally.count(r)), [C, W, P, C]);
}

#[test]
fn joining_is_fast_and_then_regular() {
    let mut pace = Pace::new(Duration::from_millis(350), Verdict::Critical);
    let ms: Vec<_> = (0..4).map(|_| pace.next(Verdict::Critical, Verdict::Critical, 0.0).as_millis()).collect();
    assert_eq!(ms, [100, 200, 350, 350]);
    assert_eq!(pace.next(Verdict::Passing, Verdict::Passing, 0.0).as_millis(), 350);
    assert_eq!(pace.next(Verdict::Critical, Verdict::Critical, 0.0).as_millis(), 350);
    let mut fresh = Pace::new(Duration::ZERO, Verdict::Passing);
    assert_eq!(fresh.next(Verdict::Critical, Verdict::Critical, 0.0), DEFAULT_INTERVAL);
}
