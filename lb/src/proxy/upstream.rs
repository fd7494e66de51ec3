//! Connections to instances: opened with a deadline, kept while idle, never shared between cores.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::client::conn::http1::{Builder, Parts, SendRequest};
use tokio::{net::TcpStream, sync::oneshot, task::spawn_local};
use tracing::debug;

use super::{
    body::RequestBody,
    io::{Io, tune},
};
use crate::target::{Endpoint, Target};

/// A request that cannot be repeated only takes a connection that was used this recently: servers that close idle
/// connections rarely do so sooner.
const FRESH: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// A connection to an instance with no request on it, or one.
#[derive(Debug)]
pub struct Upstream {
    pub sender: SendRequest<RequestBody>,
    /// It has carried a request before, so the instance may just have closed it.
    pub reused: bool,
    pool: Weak<Pool>,
}

/// The idle connections of one core.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<HashMap<u64, Idle>>,
    idle_timeout: Duration,
    idle_max: usize,
    connect_timeout: Duration,
    http: Builder,
}

#[derive(Debug)]
struct Idle {
    target: Arc<Target>,
    /// The most recently used last.
    connections: Vec<(SendRequest<RequestBody>, Instant)>,
}

impl Pool {
    #[must_use]
    pub fn new(
        idle_timeout: Duration,
        idle_max: usize,
        connect_timeout: Duration,
        max_header_bytes: usize,
    ) -> Rc<Self> {
        let mut http = Builder::new();
        http.max_header_size(max_header_bytes);
        Rc::new(Self { idle: RefCell::default(), idle_timeout, idle_max, connect_timeout, http })
    }

    /// A connection to `target`: an idle one if there is, else a new one.
    pub async fn take(self: &Rc<Self>, target: &Target, repeatable: bool) -> Result<Upstream, ConnectError> {
        if let Some(sender) = self.take_idle(target.id, if repeatable { self.idle_timeout } else { FRESH }) {
            return Ok(Upstream { sender, reused: true, pool: Rc::downgrade(self) });
        }
        self.open(target).await
    }

    fn take_idle(&self, target: u64, max_age: Duration) -> Option<SendRequest<RequestBody>> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(&target)?;
        while let Some((sender, since)) = idle.connections.pop() {
            if sender.is_closed() {
                continue;
            }
            // Still busy with the end of its last request: an upload nobody reads.
            if !sender.is_ready() {
                continue;
            }
            if since.elapsed() > max_age {
                // Too old for this request; those below are older.
                idle.connections.push((sender, since));
                return None;
            }
            return Some(sender);
        }
        None
    }

    /// A new connection, driven by its own task on this core.
    pub async fn open(self: &Rc<Self>, target: &Target) -> Result<Upstream, ConnectError> {
        let io = self.connect(target).await?;
        let (sender, connection) = self.http.handshake(io).await?;
        let id = target.id;
        spawn_local(async move {
            if let Err(error) = connection.await {
                debug!(%error, target = id, "connection to an instance ended");
            }
        });
        Ok(Upstream { sender, reused: false, pool: Rc::downgrade(self) })
    }

    /// A connection that may leave HTTP: after a 101 its socket comes through the channel.
    pub async fn open_for_upgrade(
        self: &Rc<Self>,
        target: &Target,
    ) -> Result<(Upstream, oneshot::Receiver<Parts<Io>>), ConnectError> {
        let io = self.connect(target).await?;
        let (sender, connection) = self.http.handshake(io).await?;
        let (give, take) = oneshot::channel();
        let id = target.id;
        spawn_local(async move {
            match connection.without_shutdown().await {
                // Nobody listens when the instance declined; then this closes the socket.
                Ok(parts) => drop(give.send(parts)),
                Err(error) => debug!(%error, target = id, "connection to an instance ended"),
            }
        });
        Ok((Upstream { sender, reused: false, pool: Weak::new() }, take))
    }

    async fn connect(&self, target: &Target) -> Result<Io, ConnectError> {
        let connecting = async {
            match &target.endpoint {
                Endpoint::Ip(addr) => TcpStream::connect(addr).await,
                Endpoint::Name(name, port) => TcpStream::connect((&**name, *port)).await,
            }
        };
        let stream = tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| ConnectError::Timeout(self.connect_timeout))??;
        tune(&stream);
        Ok(Io::new(stream))
    }

    fn put(&self, target: &Arc<Target>, sender: SendRequest<RequestBody>) {
        if sender.is_closed() || !target.pickable() {
            return;
        }
        let mut all = self.idle.borrow_mut();
        let idle = all.entry(target.id).or_insert_with(|| Idle { target: Arc::clone(target), connections: Vec::new() });
        if idle.connections.len() < self.idle_max {
            idle.connections.push((sender, Instant::now()));
        }
    }

    /// Close what is closed, too old, or leads to an instance that may be picked no more.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.connections.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < self.idle_timeout);
            idle.target.pickable() && !idle.connections.is_empty()
        });
    }
}

impl Upstream {
    /// The request on it is over.
    pub fn give_back(self, target: &Arc<Target>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(target, self.sender);
        }
    }
}
