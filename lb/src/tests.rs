//! The load balancer as a whole: a catalog in memory, small servers as instances, real sockets.

pub mod catalog;
mod instance;
mod leaderless;
mod leaving;
mod routing;
mod smuggling;
mod traffic;
mod websocket;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use model::{Command, LbId, State, replica::local::LocalReplica};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Config, Handle, start};

/// A load balancer over a catalog in memory. Stops when dropped.
pub struct Rig {
    pub replica: Arc<LocalReplica>,
    pub handle: Handle,
    pub cancel: CancellationToken,
}

pub fn lb_id() -> LbId {
    LbId(Uuid::from_u128(77))
}

pub fn config() -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        cores: 2,
        shutdown_wait: Duration::from_secs(5),
        ..Config::default()
    }
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: Config) -> Self {
        let replica = Arc::new(LocalReplica::new(State::default()));
        let cancel = CancellationToken::new();
        let handle = start(config, Arc::clone(&replica) as _, lb_id(), "n1".into(), cancel.clone()).expect("starts");
        tokio::time::timeout(Duration::from_secs(10), handle.ready()).await.expect("is ready");
        Self { replica, handle, cancel }
    }

    pub fn apply(&self, command: Command) {
        self.replica.apply(command).expect("applies");
    }

    pub fn addr(&self) -> SocketAddr {
        self.handle.addr
    }

    /// Wait until the table has this many instances in its routes.
    pub async fn routed(&self, instances: usize) {
        eventually(|| self.handle.routes().len() == instances).await;
    }

    pub async fn get(&self, host: &str, path: &str) -> Reply {
        exchange(self.addr(), &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }

    pub async fn admin(&self, path: &str) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        exchange(self.handle.admin_addr, &request).await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Send raw bytes, read until the other side closes.
pub async fn exchange(addr: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut bytes = Vec::new();
    // A reset after the answer is as good as a close.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("is closed");
    reply(&bytes)
}

pub fn reply(bytes: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Poll with a deadline.
pub async fn eventually(mut check: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be within 10 s");
}
