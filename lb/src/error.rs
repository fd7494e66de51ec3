//! What can go wrong before the load balancer serves. Later trouble is answered per request or logged.

use std::{io, net::SocketAddr};

/// Why the load balancer did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `what` is `load balancer` or `load balancer admin`; `setting` is the key that moves it elsewhere.
    #[error(
        "{what}: cannot listen on {addr}: {source}{holder}. Stop what listens there, or set {setting} to another port"
    )]
    Bind {
        what: &'static str,
        setting: &'static str,
        addr: SocketAddr,
        /// ` (held by PID 123, nginx)` or empty.
        holder: String,
        #[source]
        source: io::Error,
    },
    #[error("load balancer: {0}")]
    Config(String),
    #[error(
        "load balancer: cannot start a thread: {0}. Raise the limit of threads (ulimit -u), or lower the number of cores"
    )]
    Thread(#[source] io::Error),
}
