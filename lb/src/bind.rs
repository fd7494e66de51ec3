//! Listening sockets: taken early, one per core, and a clear word about who holds a port that is taken.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;

/// Connections the kernel queues while a core is busy, or before the load balancer is ready.
const BACKLOG: i32 = 1024;

/// One listener.
pub fn one(what: &'static str, setting: &'static str, addr: SocketAddr) -> Result<TcpListener, Error> {
    socket(addr, false).map_err(|source| refused(what, setting, addr, source))
}

/// One listener per core on the same port; the kernel spreads connections over them.
pub fn per_core(
    what: &'static str,
    setting: &'static str,
    addr: SocketAddr,
    cores: usize,
) -> Result<Vec<TcpListener>, Error> {
    let fail = |source| refused(what, setting, addr, source);
    // Sockets that share a port would silently join another agent's. So first ask for the port alone.
    let probe = socket(addr, false).map_err(fail)?;
    let addr = probe.local_addr().map_err(fail)?;
    drop(probe);
    (0..cores).map(|_| socket(addr, true).map_err(fail)).collect()
}

fn socket(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Only lets us follow our own closed connections; a listening holder is still refused.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn refused(what: &'static str, setting: &'static str, addr: SocketAddr, source: io::Error) -> Error {
    let taken = source.kind() == io::ErrorKind::AddrInUse;
    let holder = taken.then(|| holder(addr.port())).flatten();
    Error::Bind { what, setting, addr, holder: holder.map_or_else(String::new, |h| format!(" (held by {h})")), source }
}

/// `PID 12 (nginx)`, as far as this user may see.
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|f| listener_inode(Path::new(f), port))?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files.flatten().any(|f| fs::read_link(f.path()).is_ok_and(|l| l.as_os_str() == wanted.as_str()));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("PID {pid}, {}", name.trim()));
        }
    }
    Some("a process of another user".to_owned())
}

fn listener_inode(table: &Path, port: u16) -> Option<String> {
    let text = fs::read_to_string(table).ok()?;
    text.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let held = local.rsplit_once(':').is_some_and(|(_, p)| u16::from_str_radix(p, 16) == Ok(port));
        (held && state == "0A").then(|| inode.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_by_name_and_says_who_holds_it() {
        let held = one("test", "ports.test", ([127, 0, 0, 1], 0).into()).expect("any port");
        let addr = held.local_addr().expect("bound");
        let error = per_core("load balancer", "ports { lb }", addr, 2).expect_err("taken").to_string();
        assert!(error.contains(&addr.to_string()) && error.contains("ports { lb }"), "{error}");
        assert!(error.contains(&format!("PID {}", std::process::id())), "{error}");
    }

    #[test]
    fn another_agents_shared_port_is_not_joined() {
        let ours = per_core("a", "s", ([127, 0, 0, 1], 0).into(), 3).expect("any port");
        let addr = ours[0].local_addr().expect("bound");
        assert!(ours.iter().all(|l| l.local_addr().is_ok_and(|a| a == addr)));
        assert!(per_core("b", "s", addr, 1).is_err());
    }
}
