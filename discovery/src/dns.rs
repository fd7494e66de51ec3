//! DNS for the catalog: one port, UDP and TCP.
//!
//! Owns the port; hickory-server reads and writes the packets. What is answered is decided by [`answer`], what is
//! sent of it by [`message`]; both are plain functions over one snapshot, so a query costs no lock and no network. Refuses names outside its
//! domain: forwarding to other servers is not built.
//!
//! ```text
//!  packet ─► hickory ─► message (refusals) ─► name (what is asked) ─► answer (records) ─► message (fit) ─► hickory
//! ```

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use hickory_proto::op::{Header, HeaderCounts};
use hickory_server::{
    net::{runtime::Time, xfer::Protocol},
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use model::Replica;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub mod answer;
pub mod message;
pub mod name;
#[cfg(test)]
mod tests;

pub use answer::Zone;
use message::{Asked, Transport};

/// How long a TCP client may be silent.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Replies a TCP client may leave unread.
const TCP_REPLIES_QUEUED: usize = 32;
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
    zone: Zone,
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
                Ok(tcp) => return Ok(Self { udp, tcp, addr, zone, replica }),
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
        let handler = Handler { zone: self.zone, replica: self.replica };
        let mut server = hickory_server::Server::new(handler);
        server.register_socket(self.udp);
        server.register_listener(self.tcp, TCP_TIMEOUT, TCP_REPLIES_QUEUED);
        tokio::select! {
            () = cancel.cancelled() => {}
            ended = server.block_until_done() => {
                error!(addr = %self.addr, result = ?ended, "DNS stopped answering; restart the agent");
                return;
            }
        }
        if let Err(e) = server.shutdown_gracefully().await {
            warn!(addr = %self.addr, error = %e, "DNS did not end cleanly");
        }
        info!(addr = %self.addr, "DNS ended");
    }
}

struct Handler {
    zone: Zone,
    replica: Arc<dyn Replica>,
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut out: R) -> ResponseInfo {
        let question = match request.queries.queries() {
            [one] => Some(one.original()),
            _ => None,
        };
        let transport = if request.protocol() == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        let asked = Asked { metadata: &request.metadata, question, edns: request.edns.as_ref(), transport };
        let reply = message::reply(&self.replica.snapshot(), &self.zone, asked, unix_seconds(), &mut rand::rng());
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &reply.edns {
            builder.edns(edns);
        }
        let response = builder.build(
            reply.metadata,
            reply.answers.iter(),
            reply.authorities.iter(),
            std::iter::empty(),
            reply.additionals.iter(),
        );
        match out.send_response(response).await {
            Ok(info) => info,
            Err(e) => {
                debug!(client = %request.src(), error = %e, "DNS answer was not sent");
                Header { metadata: reply.metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}

/// The zone's serial number.
fn unix_seconds() -> u32 {
    u32::try_from(crate::local::now().0 / 1_000_000_000).unwrap_or(u32::MAX)
}
