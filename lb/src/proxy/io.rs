//! The only place that names a socket type: HTTP above sees `hyper::rt::{Read, Write}`, so another kind of I/O can
//! take its place here.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::debug;

/// A connection to a client or an instance.
pub type Io = TokioIo<TcpStream>;

/// A peer that vanished without a word is noticed after about 90 s.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// How much of what a client still sends is read after our last word, and for how long.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// Close a connection so that the client gets what was written: closing with bytes unread would reset it.
pub async fn close(io: Io) {
    let mut stream = io.into_inner();
    let ended = async {
        stream.shutdown().await?;
        let mut left = LINGER_BYTES;
        let mut buffer = [0; 4096];
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        std::io::Result::Ok(())
    };
    // Late, or an error: either way the connection is over.
    let _ = tokio::time::timeout(LINGER, ended).await;
}

/// No delay for small answers, and probes for dead peers.
pub fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_EVERY).with_retries(3);
    let done = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = done {
        // Only a socket that is closed already refuses; the next read says so.
        debug!(%error, "cannot tune a connection");
    }
}
