//! WebSockets: handshake, bytes both ways, and what is no WebSocket.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Rig, catalog::passing, exchange, instance::Server};

/// Agrees to an upgrade and echoes; answers 200 to anything else. Its first frame comes right behind the 101.
pub async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                if head.contains("upgrade: websocket") && head.contains("connection: upgrade") {
                    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                                  Sec-WebSocket-Accept: abc=\r\n\r\nhello";
                    stream.write_all(answer.as_bytes()).await.expect("writes");
                    let (mut r, mut w) = stream.split();
                    let _ = tokio::io::copy(&mut r, &mut w).await;
                } else {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await;
                }
            });
        }
    });
    addr
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).to_ascii_lowercase()
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                         Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A WebSocket through the load balancer, past the server's greeting.
pub async fn open(lb: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(lb).await.expect("connects");
    stream.write_all(HANDSHAKE.as_bytes()).await.expect("writes");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("sec-websocket-accept: abc=") && head.contains("upgrade: websocket"), "{head}");
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await.expect("reads");
    assert_eq!(&hello, b"hello");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_both_ways_after_the_handshake() {
    let rig = Rig::new().await;
    rig.apply(passing("ws", "a", echo_server().await, &["urlprefix-/ws"]));
    rig.routed(1).await;
    let mut socket = open(rig.addr()).await;
    let sent: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut r, mut w) = socket.split();
    let (written, got) = tokio::join!(w.write_all(&sent), async {
        let mut got = vec![0; sent.len()];
        r.read_exact(&mut got).await.map(|_| got)
    });
    written.expect("writes");
    assert!(got.expect("reads") == sent, "other bytes came back");
    assert_eq!(rig.handle.view.status().websockets, 1);
    drop(socket);
    super::eventually(|| rig.handle.view.status().websockets == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_the_instance_declines_is_an_ordinary_answer() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/ws"]));
    rig.routed(1).await;
    let request = HANDSHAKE.replace("keep-alive, Upgrade", "close, Upgrade");
    let reply = exchange(rig.addr(), &request).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("upgrade: websocket\n"), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_upgrades_are_not_passed_on() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/"]));
    rig.routed(1).await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    let reply = exchange(rig.addr(), request).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.body.contains("h2c") && !reply.body.contains("http2-settings"), "{}", reply.body);
}
