//! One traffic core: a thread with its own runtime, listener, pools and cached table.
//!
//! Cores share only the published table and atomics. On shutdown a core first empties its queue of accepted
//! connections, then lets requests end, then stops whatever is left at the deadline.

use std::{
    cell::{Cell, RefCell},
    hash::{BuildHasher, RandomState},
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, cache::Cache};
use http::StatusCode;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    task::{LocalSet, spawn_local},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    config::Config,
    pick::Dice,
    proxy::{
        Core, Session,
        front::{self, Front},
        headers::Peer,
        io::{Io, close, tune},
        serve,
        upstream::Pool,
    },
    table::Table,
};

/// After an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The parser's own limit of header fields, for which it needs no memory from the heap.
const PARSER_HEADERS: usize = 100;
/// What a connection may hold unread or unwritten.
const MAX_BUFFER: usize = 64 * 1024;
/// How often idle connections to instances are looked over.
const SWEEP: Duration = Duration::from_secs(1);

/// What the cores count beside their targets; one lane each.
#[derive(Debug)]
pub struct Counters(Box<[Lane]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    requests: AtomicU64,
    no_route: AtomicU64,
    client_errors: AtomicU64,
    gateway_errors: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    tunnels: AtomicU64,
}

/// The sums of all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub requests: u64,
    pub no_route: u64,
    /// Requests we answered 400 to 499 ourselves.
    pub client_errors: u64,
    /// Requests we answered 500 and above ourselves.
    pub gateway_errors: u64,
    /// Client connections since the start.
    pub connections: u64,
    /// Client connections now.
    pub open: u64,
    /// WebSockets now.
    pub tunnels: u64,
}

impl Counters {
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self((0..lanes.max(1)).map(|_| Lane::default()).collect())
    }

    fn lane(&self, lane: usize) -> &Lane {
        &self.0[lane % self.0.len()]
    }

    pub fn requests(&self, lane: usize) {
        self.lane(lane).requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn no_route(&self, lane: usize) {
        self.lane(lane).no_route.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused(&self, lane: usize, status: StatusCode) {
        let lane = self.lane(lane);
        let counter = if status.is_server_error() { &lane.gateway_errors } else { &lane.client_errors };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    #[must_use]
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for lane in &self.0 {
            let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
            sums.requests += get(&lane.requests);
            sums.no_route += get(&lane.no_route);
            sums.client_errors += get(&lane.client_errors);
            sums.gateway_errors += get(&lane.gateway_errors);
            sums.connections += get(&lane.connections);
            sums.open += get(&lane.open);
            sums.tunnels += get(&lane.tunnels);
        }
        sums
    }
}

/// What a core is started with.
pub struct Start {
    pub lane: usize,
    pub config: Arc<Config>,
    pub listener: TcpListener,
    pub table: Arc<ArcSwap<Table>>,
    pub counters: Arc<Counters>,
    /// Accept only once this is true.
    pub ready: watch::Receiver<bool>,
    /// Changes with every published table.
    pub published: watch::Receiver<u64>,
    /// Take no more connections, end those there are.
    pub stop: CancellationToken,
}

/// Run a core on this thread until it has stopped.
pub fn run(start: Start) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, carry(start))
}

/// The connections of this core: how many, and a bell for the last one.
#[derive(Default)]
struct Open {
    count: Cell<usize>,
    bell: Notify,
}

async fn carry(start: Start) -> std::io::Result<()> {
    let Start { lane, config, listener, table, counters, mut ready, published, stop } = start;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // Its own, because every wake of a connection looks at it, and cores must not meet at one lock.
    let stop = stop.child_token();
    let pool = Pool::new(
        config.upstream_idle_timeout,
        config.upstream_idle_max,
        config.connect_timeout,
        config.max_header_bytes,
    );
    spawn_local(sweep(Rc::clone(&pool), published));
    let core = Rc::new(Core {
        lane,
        config,
        table: RefCell::new(Cache::new(table)),
        pool,
        // The hasher's keys are random and differ from core to core.
        dice: Dice::new(RandomState::new().hash_one(lane)),
        scratch: front::scratch(),
        counters,
    });
    let open = Rc::new(Open::default());
    // Until then connections wait in the listener's queue; none is refused.
    tokio::select! {
        _ = ready.wait_for(|r| *r) => {}
        () = stop.cancelled() => {}
    }
    loop {
        while open.count.get() >= core.config.max_connections {
            open.bell.notified().await;
        }
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&core, &open, stream, peer, &stop),
            Err(error) => {
                warn!(%error, lane, "cannot accept a connection; is the limit of open files too low?");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever the kernel has already connected gets an answer.
    while let Some(Ok((stream, peer))) = futures_util::FutureExt::now_or_never(listener.accept()) {
        admit(&core, &open, stream, peer, &stop);
    }
    drop(listener);
    let ended = async {
        while open.count.get() > 0 {
            open.bell.notified().await;
        }
    };
    if tokio::time::timeout(core.config.shutdown_wait, ended).await.is_err() {
        warn!(lane, connections = open.count.get(), "connections were cut at the shutdown deadline");
    }
    Ok(())
}

fn admit(core: &Rc<Core>, open: &Rc<Open>, stream: TcpStream, peer: SocketAddr, stop: &CancellationToken) {
    let (core, open, stop) = (Rc::clone(core), Rc::clone(open), stop.clone());
    let guard = Connected::new(&core, &open);
    spawn_local(async move {
        connection(core, stream, peer, stop).await;
        drop(guard);
    });
}

/// Counts a connection for as long as it lives, however it ends.
struct Connected {
    open: Rc<Open>,
    counters: Arc<Counters>,
    lane: usize,
}

impl Connected {
    fn new(core: &Core, open: &Rc<Open>) -> Self {
        open.count.set(open.count.get() + 1);
        let lane = core.counters.lane(core.lane);
        lane.connections.fetch_add(1, Ordering::Relaxed);
        lane.open.fetch_add(1, Ordering::Relaxed);
        Self { open: Rc::clone(open), counters: Arc::clone(&core.counters), lane: core.lane }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.open.count.set(self.open.count.get() - 1);
        self.counters.lane(self.lane).open.fetch_sub(1, Ordering::Relaxed);
        self.open.bell.notify_one();
    }
}

async fn connection(core: Rc<Core>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
    tune(&stream);
    let Ok(local) = stream.local_addr() else { return };
    let ip = peer.ip().to_canonical();
    let trusted = core.config.trusted_proxies.iter().any(|net| net.contains(&ip));
    let session = Rc::new(Session {
        core: Rc::clone(&core),
        peer: Peer::new(ip, local.ip(), trusted),
        tunnel: RefCell::new(None),
    });
    let serving = Rc::clone(&session);
    // Boxed: an idle connection then holds no request's worth of memory.
    let service = service_fn(move |request| Box::pin(serve(Rc::clone(&serving), request)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // Counted from the last answer; a head that has begun has its own, shorter limit in `Front`.
        .header_read_timeout(core.config.idle_timeout)
        .max_header_size(core.config.max_header_bytes)
        .max_buf_size(core.config.max_header_bytes.max(MAX_BUFFER));
    let config = &core.config;
    if config.max_headers != PARSER_HEADERS {
        http.max_headers(config.max_headers);
    }
    let scratch = Rc::clone(&core.scratch);
    let front =
        Front::new(Io::new(stream), scratch, config.max_header_bytes, config.header_timeout, config.stall_timeout);
    let mut connection = http.serve_connection(front, service);
    let mut ending = false;
    let ended = loop {
        tokio::select! {
            ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            () = stop.cancelled(), if !ending => {
                ending = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, %peer, "client connection ended");
    }
    let parts = connection.into_parts();
    let tunnel = session.tunnel.borrow_mut().take();
    if let Some(tunnel) = tunnel {
        let lane = core.counters.lane(core.lane);
        lane.tunnels.fetch_add(1, Ordering::Relaxed);
        tunnel.run(parts.io, parts.read_buf).await;
        lane.tunnels.fetch_sub(1, Ordering::Relaxed);
    } else {
        close(parts.io.into_inner()).await;
    }
}

/// Close idle connections that are too old, and at once those to instances that left.
async fn sweep(pool: Rc<Pool>, mut published: watch::Receiver<u64>) {
    let mut every = tokio::time::interval(SWEEP);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            changed = published.changed() => if changed.is_err() { return },
        }
        pool.sweep();
    }
}
