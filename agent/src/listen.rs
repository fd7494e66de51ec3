//! Binding the agent's ports early, and saying in one sentence who has one that is taken.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
};

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {purpose}: {reason}{holder}.\nStop that, or choose another port: `ports {{ {key} = … }}` in the configuration or `-port {key}=…` (0 takes any free one)"
)]
pub struct Error {
    pub address: SocketAddr,
    pub purpose: &'static str,
    /// The key in `ports {}`.
    pub key: &'static str,
    pub reason: String,
    /// ` (held by …)`, or nothing.
    pub holder: String,
}

impl Error {
    /// Describe a failure to bind.
    #[must_use]
    pub fn new(address: SocketAddr, purpose: &'static str, key: &'static str, error: &io::Error) -> Self {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "the port is taken".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
            io::ErrorKind::PermissionDenied => "ports below 1024 need more rights".to_owned(),
            _ => error.to_string(),
        };
        let holder = if taken {
            holder_of(address.port()).map(|h| format!(" by {h}")).unwrap_or_default()
        } else {
            String::new()
        };
        Self { address, purpose, key, reason, holder }
    }
}

/// Bind a TCP port without serving it yet.
pub fn bind(address: SocketAddr, purpose: &'static str, key: &'static str) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).and_then(|l| {
        l.set_nonblocking(true)?;
        Ok(l)
    });
    bound.map_err(|e| Error::new(address, purpose, key, &e))
}

/// The process that listens on a port of this host, as far as we may look: `nomad (pid 12)`.
fn holder_of(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, port))?;
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(fds) = fs::read_dir(entry.path().join("fd")) else { continue };
        if fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|l| l.to_string_lossy() == wanted)) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inode of the socket that listens on `port` in one of the kernel's tables.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    const UDP_UNCONNECTED: &str = "07";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit(':').next()?;
        let state = *fields.get(3)?;
        let listens = state == LISTEN || state == UDP_UNCONNECTED;
        (listens && u16::from_str_radix(local, 16) == Ok(port)).then(|| fields.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder_and_the_key() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let error = bind(address, "the HTTP API", "http").unwrap_err().to_string();
        for wanted in
            [&address.port().to_string(), &format!("pid {}", std::process::id()), "ports { http", "-port http="]
        {
            assert!(error.contains(wanted), "{wanted:?} in {error}");
        }
    }
}
