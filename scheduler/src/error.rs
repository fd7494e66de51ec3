//! What can go wrong in this crate outside a request: opening storage, binding, connecting.
//!
//! Every message says what failed, where, and what to do next. Refusals of single requests have their own types
//! (`model::ProposeError`, the jobspec's errors).

use std::{net::SocketAddr, path::PathBuf};

/// An error of the scheduler's shell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {p}: {source}", p = path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "another agent is using the data directory {d} (it holds the lock {l}); stop that agent, or give this one its \
         own data_dir",
        d = dir.display(),
        l = lock.display()
    )]
    Locked { dir: PathBuf, lock: PathBuf },
    #[error(
        "{d} was not written by trine ({detail}); choose another data_dir, or move it aside: mv {d} {d}.aside",
        d = dir.display()
    )]
    Foreign { dir: PathBuf, detail: String },
    #[error(
        "{p} has format {found}, newer than this binary's {supported}; start the newer trine that wrote it, or move \
         it aside and start with an empty cluster: mv {d} {d}.aside",
        p = path.display(),
        d = dir.display()
    )]
    Newer { path: PathBuf, dir: PathBuf, found: u32, supported: u32 },
    #[error(
        "{p} is damaged: {detail}. This server cannot start from it: restore {d} from a backup, or move it aside and \
         start with an empty cluster: mv {d} {d}.damaged",
        p = path.display(),
        d = dir.display()
    )]
    Damaged { path: PathBuf, dir: PathBuf, detail: String },
    #[error("Raft did not start: {0}")]
    Raft(String),
    #[error(
        "refusing to serve server RPC on {0}: it would be open to the network without TLS. Bind it to a loopback \
         address (ports.rpc on 127.0.0.1) until TLS is configured"
    )]
    NotLoopback(SocketAddr),
    #[error("server RPC on {addr} failed: {detail}")]
    Rpc { addr: String, detail: String },
    #[error("`{0}` is not a server address; write host:port, for example 127.0.0.1:4647")]
    BadAddress(String),
}

impl Error {
    /// For `map_err`: which file, and what was being done to it.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
