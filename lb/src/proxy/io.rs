//! The only place that names a socket type: HTTP above sees `hyper::rt::{Read, Write}`, so another kind of I/O can
//! take its place here.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tracing::debug;

/// A connection to a client or an instance.
pub type Io = TokioIo<TcpStream>;

/// A peer that vanished without a word is noticed after about 90 s.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// No delay for small answers, and probes for dead peers.
pub fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_EVERY).with_retries(3);
    let done = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = done {
        // Only a socket that is closed already refuses; the next read says so.
        debug!(%error, "cannot tune a connection");
    }
}
