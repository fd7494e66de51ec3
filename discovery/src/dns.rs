//! DNS for the catalog: one port, UDP and TCP.
//!
//! Owns the sockets and their limits. What is answered is decided by [`answer`], how it is written by [`message`];
//! both are plain functions over one snapshot, so a query costs no lock and no network. Refuses names outside its
//! domain: forwarding to other servers is not built.
//!
//! ```text
//!  packet ─► message (parse, limits) ─► name (what is asked) ─► answer (records) ─► message (fit, truncate) ─► packet
//! ```

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use model::Replica;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub mod answer;
pub mod message;
pub mod name;
#[cfg(test)]
mod tests;

pub use answer::Zone;
use message::Transport;

/// TCP connections served at the same time; further ones wait to be accepted.
const TCP_CONNECTIONS_MAX: usize = 256;
/// How long a TCP client may take to send a whole query, or to read an answer.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// How many free ports are tried when any will do: the port must be free for UDP and TCP.
const PORT_TRIES: usize = 16;

/// What to serve and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port 0 takes any port that is free for both UDP and TCP.
    pub addr: SocketAddr,
    /// Without dots around it: `consul`.
    pub domain: String,
    pub datacenter: String,
    /// Leave out instances with a warning, too.
    pub only_passing: bool,
    pub node_ttl: Duration,
    /// By service name, by `prefix*`, or `*` for all others. Without an entry: 0.
    pub service_ttl: BTreeMap<String, Duration>,
    /// The TTL of negative answers.
    pub soa_min_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 8600)),
            domain: "consul".into(),
            datacenter: "dc1".into(),
            only_passing: false,
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            soa_min_ttl: Duration::ZERO,
        }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot serve DNS on {addr} ({transport}): {source}; free the port or set another one with `ports.dns`")]
    Bind { addr: SocketAddr, transport: &'static str, source: io::Error },
    #[error("{0:?} is not a domain name; set `discovery.domain` to something like \"consul\"")]
    Domain(String),
}

/// Bound sockets; nothing is answered before [`Server::run`].
pub struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    addr: SocketAddr,
    zone: Arc<Zone>,
    replica: Arc<dyn Replica>,
}

impl Server {
    pub async fn bind(config: Config, replica: Arc<dyn Replica>) -> Result<Self, Error> {
        let zone = Zone::new(&config).ok_or_else(|| Error::Domain(config.domain.clone()))?;
        let mut tries = if config.addr.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let (wanted, is_last) = (config.addr, tries == 0);
            let bind = |transport| move |source| Error::Bind { addr: wanted, transport, source };
            let udp = UdpSocket::bind(wanted).await.map_err(bind("UDP"))?;
            let addr = udp.local_addr().map_err(bind("UDP"))?;
            match TcpListener::bind(addr).await {
                Ok(tcp) => return Ok(Self { udp, tcp, addr, zone: Arc::new(zone), replica }),
                Err(source) if is_last => return Err(Error::Bind { addr, transport: "TCP", source }),
                Err(e) => debug!(%addr, error = %e, "free for UDP but not for TCP; trying another port"),
            }
        }
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answer until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        info!(addr = %self.addr, domain = %self.zone.domain(), "DNS ready");
        let udp = serve_udp(&self.udp, &self.zone, &*self.replica);
        let tcp = serve_tcp(&self.tcp, &self.zone, &self.replica);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = udp => {}
            () = tcp => {}
        }
        info!(addr = %self.addr, "DNS ended");
    }
}

async fn serve_udp(socket: &UdpSocket, zone: &Zone, replica: &dyn Replica) {
    let mut rng = StdRng::from_rng(&mut rand::rng());
    // No query is longer than what fits an unextended datagram many times over.
    let mut buf = vec![0; 4096];
    loop {
        let (len, from) = match socket.recv_from(&mut buf).await {
            Ok(got) => got,
            Err(e) => {
                // An ICMP answer to an earlier packet: not ours to worry about, but never a busy loop.
                debug!(error = %e, "DNS receive");
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        let answer = message::respond(&replica.snapshot(), zone, &buf[..len], Transport::Udp, unix_seconds(), &mut rng);
        if let Some(answer) = answer
            && let Err(e) = socket.send_to(&answer, from).await
        {
            debug!(%from, error = %e, "DNS answer was not sent");
        }
    }
}

async fn serve_tcp(listener: &TcpListener, zone: &Arc<Zone>, replica: &Arc<dyn Replica>) {
    let slots = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    // Dropping the set with this future ends every connection.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                warn!(error = %e, "DNS accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (zone, replica) = (Arc::clone(zone), Arc::clone(replica));
        connections.spawn(async move {
            if let Err(e) = converse(stream, &zone, &*replica).await {
                debug!(%from, error = %e, "DNS connection");
            }
            drop(slot);
        });
    }
}

/// Queries of one connection, one after the other, until it closes or is silent for too long.
async fn converse(mut stream: TcpStream, zone: &Zone, replica: &dyn Replica) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut rng = StdRng::from_rng(&mut rand::rng());
    loop {
        let query = timeout(TCP_TIMEOUT, read_query(&mut stream)).await??;
        let Some(query) = query else { return Ok(()) };
        let answer = message::respond(&replica.snapshot(), zone, &query, Transport::Tcp, unix_seconds(), &mut rng);
        let Some(answer) = answer else { return Ok(()) };
        let mut framed = Vec::with_capacity(answer.len() + 2);
        framed.extend_from_slice(&u16::try_from(answer.len()).map_err(io::Error::other)?.to_be_bytes());
        framed.extend_from_slice(&answer);
        timeout(TCP_TIMEOUT, stream.write_all(&framed)).await??;
    }
}

/// One length-prefixed query; `None` when the client is done.
async fn read_query(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let len = match stream.read_u16().await {
        Ok(len) => usize::from(len),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut query = Vec::new();
    // Grows with what really arrives, not with what the prefix claims.
    stream.take(len as u64).read_to_end(&mut query).await?;
    Ok((query.len() == len).then_some(query))
}

/// The zone's serial number.
fn unix_seconds() -> u32 {
    u32::try_from(crate::local::now().0 / 1_000_000_000).unwrap_or(u32::MAX)
}
