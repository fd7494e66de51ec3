//! Traffic while instances come and go: nothing is lost, nothing goes to one that left.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{
    Rig,
    catalog::{deregister, passing},
    config, exchange,
    instance::Server,
};
use crate::{Config, target::Target};

/// Requests over one kept connection until `stop`; counts those not answered 200.
async fn client(addr: SocketAddr, stop: Arc<AtomicBool>, body: &'static str) -> (usize, Vec<String>) {
    let (mut done, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::SeqCst) {
        let stream = TcpStream::connect(addr).await.expect("connects");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("handshakes");
        tokio::spawn(connection);
        while !stop.load(Ordering::SeqCst) {
            let method = if body.is_empty() { "GET" } else { "POST" };
            let request =
                Request::builder().method(method).uri("/x").header("host", "h").body(Full::<Bytes>::from(body));
            if sender.ready().await.is_err() {
                break;
            }
            match sender.send_request(request.expect("a request")).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let all = answer.into_body().collect().await.expect("a whole body").to_bytes();
                    assert!(all.ends_with(body.as_bytes()));
                    done += 1;
                }
                Ok(answer) => {
                    let status = answer.status();
                    let text = answer.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                    failed.push(format!("{status} {}", String::from_utf8_lossy(&text)));
                }
                Err(error) => {
                    failed.push(error.to_string());
                    break;
                }
            }
        }
    }
    (done, failed)
}

fn target(rig: &Rig, instance: &str) -> Arc<Target> {
    let table = rig.handle.view.table.load();
    let mut all = table.routes.values().flat_map(|r| &r.choices).map(|c| &c.target);
    Arc::clone(all.find(|t| t.key.instance.as_str() == instance).expect("is routed"))
}

/// Instances are registered, deregistered, and killed once the load balancer has let go; requests never stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_instances_come_and_go() {
    let rig = Rig::new().await;
    let first = Server::new("first").await;
    rig.apply(passing("web", "keep", first.addr, &["urlprefix-/x"]));
    rig.routed(1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = ["", "", "", "some body"]
        .into_iter()
        .map(|body| tokio::spawn(client(rig.addr(), Arc::clone(&stop), body)))
        .collect();
    let strays = Arc::new(AtomicUsize::new(0));
    for round in 0..30 {
        let server = Server::new("other").await;
        let id = format!("i{round}");
        rig.apply(passing("web", &id, server.addr, &["urlprefix-/x"]));
        super::eventually(|| server.hits() > 20).await;
        let target = target(&rig, &id);
        rig.apply(deregister(&id));
        // Out of the table and idle: what the handshake waits for before the task is signalled.
        super::eventually(|| !target.pickable() && target.in_flight() == 0).await;
        server.closed.store(true, Ordering::SeqCst);
        server.kill();
        strays.fetch_add(server.strays.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    stop.store(true, Ordering::SeqCst);
    let mut total = 0;
    for c in clients {
        let (done, failed) = c.await.expect("runs");
        assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), &failed[..failed.len().min(3)]);
        total += done;
    }
    assert!(total > 1000, "only {total} requests");
    assert_eq!(strays.load(Ordering::SeqCst), 0, "requests reached an instance that had left");
}

/// An instance that dies without a word: what is safe to repeat goes to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_tried_elsewhere() {
    let (rig, live, dead) = (Rig::new().await, Server::new("live").await, Server::new("dead").await);
    rig.apply(passing("web", "a", live.addr, &["urlprefix-/x"]));
    rig.apply(passing("web", "b", dead.addr, &["urlprefix-/x"]));
    rig.routed(2).await;
    for _ in 0..4 {
        assert_eq!(rig.get("h", "/x").await.status, 200);
    }
    assert!(dead.hits() > 0);
    dead.kill();
    for n in 0..20 {
        let request =
            format!("POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{}", n % 10);
        // The first may meet a connection that is just being cut; then only a request without effect is repeated.
        let get = rig.get("h", "/x").await;
        assert_eq!(get.status, 200, "{}", get.body);
        super::eventually(|| rig.handle.routes().len() == 2).await;
        let post = exchange(rig.addr(), &request).await;
        assert_eq!(post.status, 200, "{}", post.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_502_and_silence_is_504() {
    let config = Config { response_timeout: Duration::from_millis(200), ..config() };
    let rig = Rig::with(config).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("binds").local_addr().expect("bound");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    rig.apply(passing("gone", "a", gone, &["urlprefix-/gone"]));
    rig.apply(passing("silent", "b", silent.local_addr().expect("bound"), &["urlprefix-/silent"]));
    rig.routed(2).await;
    let reply = rig.get("h", "/gone").await;
    assert_eq!(reply.status, 502);
    assert!(reply.body.contains("service gone") && !reply.body.contains("127.0.0.1"), "{}", reply.body);
    assert_eq!(rig.get("h", "/silent").await.status, 504);
}

/// Upstream connections are reused, and large bodies stream both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reused_and_bodies_stream() {
    let rig = Rig::with(Config { cores: 1, ..config() }).await;
    let a = Server::new("a").await;
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/x"]));
    rig.routed(1).await;
    for _ in 0..20 {
        assert_eq!(rig.get("h", "/x").await.status, 200);
    }
    assert_eq!(a.connections.load(Ordering::SeqCst), 1);
    let stream = TcpStream::connect(rig.addr()).await.expect("connects");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("handshakes");
    tokio::spawn(connection);
    let big = Bytes::from(vec![b'z'; 8 << 20]);
    let request = Request::post("/x").header("host", "h").body(Full::new(big.clone())).expect("a request");
    let answer = sender.send_request(request).await.expect("answers");
    let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(body.len() > big.len() && body.ends_with(&big));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_lets_requests_end() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/"]));
    rig.routed(1).await;
    let addr = rig.addr();
    let slow = tokio::spawn(async move { exchange(addr, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await });
    super::eventually(|| a.hits() == 1).await;
    rig.cancel.cancel();
    assert_eq!(slow.await.expect("ends").status, 200);
    super::eventually(|| rig.handle.ended.is_finished()).await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grace_period_tells_health_checks_first() {
    let config = Config { shutdown_grace: Duration::from_secs(60), ..config() };
    let (rig, a) = (Rig::with(config).await, Server::new("a").await);
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/"]));
    rig.routed(1).await;
    rig.cancel.cancel();
    assert_eq!(rig.admin("/health").await.status, 503);
    assert_eq!(rig.get("h", "/").await.status, 200);
}

/// The limit is for the instance: a slow upload does not use it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_upload_outlasts_the_response_timeout() {
    use tokio::io::AsyncWriteExt;
    let config = Config { response_timeout: Duration::from_millis(300), ..config() };
    let (rig, a) = (Rig::with(config).await, Server::new("a").await);
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/"]));
    rig.routed(1).await;
    let mut stream = TcpStream::connect(rig.addr()).await.expect("connects");
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 6\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("writes");
    for byte in b"upload" {
        tokio::time::sleep(Duration::from_millis(120)).await;
        stream.write_all(&[*byte]).await.expect("writes");
    }
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await.expect("reads");
    let reply = super::reply(&bytes);
    assert_eq!(reply.status, 200, "{}", reply.head);
    assert!(reply.body.ends_with("upload"));
}

/// An answer is passed on as it comes, and its head keeps what the instance said of a body it does not send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_stream_and_heads_stay_whole() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let mut wait = Some(wait);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let got = stream.read(&mut buffer).await.unwrap_or(0);
            if buffer[..got].starts_with(b"HEAD") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 123\r\n\r\n").await;
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
            if let Some(wait) = wait.take() {
                let _ = wait.await;
            }
            let _ = stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await;
        }
    });
    let rig = Rig::new().await;
    rig.apply(passing("web", "a", addr, &["urlprefix-/"]));
    rig.routed(1).await;
    let head = exchange(rig.addr(), "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("content-length: 123"), "{}", head.head);
    let mut stream = TcpStream::connect(rig.addr()).await.expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.expect("writes");
    let mut seen = Vec::new();
    while !seen.ends_with(b"first\r\n") {
        seen.push(stream.read_u8().await.expect("the first part comes before the last"));
    }
    go.send(()).expect("still streams");
    stream.read_to_end(&mut seen).await.expect("reads");
    assert!(seen.ends_with(b"4\r\nlast\r\n0\r\n\r\n"));
}

/// What one instance refused goes to the others until it is forgiven.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_refuses_is_spared_for_a_while() {
    let (rig, live) = (Rig::new().await, Server::new("live").await);
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("binds").local_addr().expect("bound");
    rig.apply(passing("web", "a", live.addr, &["urlprefix-/"]));
    rig.apply(passing("web", "b", gone, &["urlprefix-/"]));
    rig.routed(2).await;
    let dead = target(&rig, "b");
    for _ in 0..20 {
        assert_eq!(rig.get("h", "/").await.status, 200);
    }
    let tries = dead.totals().requests;
    assert!((1..20 / 2).contains(&tries), "{tries} tries in 20 requests");
}

/// An answer that comes before the body was read is not lost to a reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_arrives_although_the_body_is_not_read() {
    let rig = Rig::new().await;
    for _ in 0..10 {
        let body = "x".repeat(150_000);
        let head = format!("POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        let reply = exchange(rig.addr(), &format!("{head}{body}")).await;
        assert_eq!(reply.status, 404, "{}", reply.head);
    }
}

/// An answer that comes before the body was sent does not cost the client its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_nobody_reads_does_not_end_the_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    // Answers each head at once, reads no body, and closes.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    });
    let rig = Rig::new().await;
    rig.apply(passing("web", "a", addr, &["urlprefix-/x"]));
    rig.routed(1).await;
    let mut stream = TcpStream::connect(rig.addr()).await.expect("connects");
    for path in ["/x", "/none", "/x", "/none"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("writes the head");
        let mut answer = Vec::new();
        let end: &[u8] = if path == "/x" { b"\r\n\r\nok" } else { b"path\n" };
        while !answer.ends_with(end) {
            answer.push(stream.read_u8().await.expect("answers before the body has come"));
        }
        stream.write_all(b"body").await.expect("writes the body");
    }
}
