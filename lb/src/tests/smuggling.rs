//! Requests that two servers could read differently: refused, and the connection closed.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Rig, catalog::passing, exchange, instance::Server};

async fn rig() -> (Rig, Server) {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/"]));
    rig.routed(1).await;
    (rig, a)
}

/// A second request hidden in the first one's body must never be served as one.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_one_clear_length_are_refused() {
    let (rig, a) = rig().await;
    let cases = [
        ("both lengths", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("both, other order", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("unknown coding", "Transfer-Encoding: xchunked\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, identity\r\n"),
        ("parameter", "Transfer-Encoding: chunked;x\r\n"),
        ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("gzip first", "Transfer-Encoding: gzip, chunked\r\n"),
        ("control character", "Transfer-Encoding: \x0bchunked\r\n"),
        ("plus", "Content-Length: +5\r\n"),
        ("list", "Content-Length: 5,5\r\n"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("hex", "Content-Length: 0x5\r\n"),
        ("empty", "Content-Length: \r\n"),
        ("too long", "Content-Length: 99999999999999999999\r\n"),
        ("space before colon", "Content-Length : 5\r\n"),
        ("folded", "X-A: 1\r\n Content-Length: 5\r\n"),
        ("no name", ": x\r\n"),
        ("bare LF", "X-A: 1\nContent-Length: 5\r\n"),
        ("bare CR", "X-A: 1\rContent-Length: 5\r\n"),
        ("NUL", "X-A: a\0b\r\n"),
        ("two hosts", "Host: other\r\n"),
    ];
    for (name, lines) in cases {
        let before = a.hits();
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n0\r\n\r\n{HIDDEN}");
        let reply = exchange(rig.addr(), &request).await;
        assert!((400..=501).contains(&reply.status), "{name}: {}", reply.head);
        assert!(!reply.body.contains("HTTP/1.1"), "{name}: the connection went on: {}", reply.body);
        assert_eq!(a.hits(), before, "{name}: reached the instance");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_are_refused() {
    let (rig, a) = rig().await;
    let head = |line: &str| format!("{line}\r\nHost: h\r\nConnection: close\r\n\r\n");
    let long = format!("GET /{} HTTP/1.1", "a".repeat(70_000));
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let cases = [
        (head("CONNECT h:80 HTTP/1.1"), 405..=405),
        (head("GET / HTTP/1.2"), 400..=505),
        (head("GET / HTTP/2.0"), 400..=505),
        (head("GET / http/1.1"), 400..=505),
        (head("GET h:80 HTTP/1.1"), 400..=400),
        (head("GET http://other/ HTTP/1.1"), 400..=400),
        (head("GET /%2e%2e/x HTTP/1.1"), 400..=400),
        (head("GET /a%00 HTTP/1.1"), 400..=400),
        (head("GET /a\\b HTTP/1.1"), 400..=400),
        (head("GET /a#b HTTP/1.1"), 400..=400),
        (head(&long), 414..=431),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".into(), 400..=400),
        ("GET / HTTP/1.1\r\nHost: a,b\r\nConnection: close\r\n\r\n".into(), 400..=400),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"), 431..=431),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(40_000)), 431..=431),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: y 100-continue\r\nConnection: close\r\n\r\n".into(), 417..=417),
        ("GET / HTTP/1.1\r\nHost: h\r\nX-Trine-Hops: 8\r\nConnection: close\r\n\r\n".into(), 508..=508),
        // HTTP/2 without TLS: closed without a word, as nothing of HTTP/1.1 would be understood.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 0..=505),
    ];
    for (request, wanted) in cases {
        let reply = exchange(rig.addr(), &request).await;
        let line = request.lines().next().unwrap_or_default();
        assert!(wanted.contains(&reply.status), "{}: {}", &line[..line.len().min(60)], reply.head);
    }
    assert_eq!(a.hits(), 0);
    // And what is odd but sound passes.
    for request in [
        "GET http://h/abs?x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5;ext\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        "\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ] {
        let reply = exchange(rig.addr(), request).await;
        let ok = reply.status == 200 || (reply.status == 100 && reply.body.contains("200 OK"));
        assert!(ok, "{request}: {}", reply.head);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let (rig, _a) = rig().await;
    let mut all = String::new();
    for n in 0..10 {
        let close = if n == 9 { "Connection: close\r\n" } else { "" };
        all.push_str(&format!("POST /{n} HTTP/1.1\r\nHost: h\r\n{close}Content-Length: 3\r\n\r\nb{n}\n"));
    }
    let reply = exchange(rig.addr(), &all).await;
    let whole = format!("{}\r\n\r\n{}", reply.head, reply.body);
    let at: Vec<_> = (0..10).map(|n| whole.find(&format!("POST /{n}\n")).expect("answered")).collect();
    assert!(at.is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_chunks_end_the_connection() {
    let (rig, _a) = rig().await;
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "11111111111111111\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{HIDDEN}");
        let reply = exchange(rig.addr(), &request).await;
        assert!(reply.status == 0 || reply.status >= 400, "{chunks:?}: {}", reply.head);
        assert!(!reply.body.contains("HTTP/1.1"), "{chunks:?}: the connection went on");
    }
}

/// What an instance answers is not trusted either, and a connection that carried nonsense is not used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_instance_harms_only_its_own_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "not HTTP at all\r\n\r\n",
        "",
    ] {
        let reply = through(answer).await;
        assert_eq!(reply.status, 502, "{answer:?}: {}", reply.head);
    }
    let kept =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n";
    let reply = through(kept).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    assert!(!reply.head.contains("x-secret"), "{}", reply.head);
}

async fn through(answer: &'static str) -> super::Reply {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let rig = Rig::new().await;
    rig.apply(passing("web", "a", addr, &["urlprefix-/"]));
    rig.routed(1).await;
    let reply = rig.get("h", "/").await;
    server.abort();
    reply
}

/// A head that trickles in is given up; so is a connection on which nothing is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_are_given_up_before_idle_connections() {
    use std::time::{Duration, Instant};
    let config = crate::Config {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(1500),
        ..super::config()
    };
    let rig = Rig::with(config).await;
    let waits = |first: &'static str| {
        let addr = rig.addr();
        async move {
            let started = Instant::now();
            let mut stream = TcpStream::connect(addr).await.expect("connects");
            stream.write_all(first.as_bytes()).await.expect("writes");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            started.elapsed()
        }
    };
    let (slow, idle) = tokio::join!(waits("GET / HT"), waits(""));
    assert!(slow >= Duration::from_millis(200) && slow < idle, "{slow:?}, {idle:?}");
    assert!(idle >= Duration::from_millis(1400), "{idle:?}");
}
