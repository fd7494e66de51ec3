//! The load balancer: routes from the tags of service instances, HTTP/1.1 traffic, and an admin API.
//!
//! Owns: reading tags ([`tag`]), the route table ([`table`]), choosing an instance ([`pick`]), the data plane
//! ([`proxy`]), following the catalog ([`follow`]) and the admin side ([`admin`]).
//!
//! Refuses: polling, locks or parsing on the path of a request, and health checks of its own: an instance is routed
//! while the catalog says it passes.
//!
//! ```text
//!  commit ─► Follower ─► Book ─► Table ─► ArcSwap ─► core 0: listener, runtime, pools, cached table
//!               │                                 ─► core 1: …
//!               └─ LbDrained when nothing is in flight on a leaving instance
//! ```

pub mod admin;
mod bind;
mod book;
pub mod config;
mod core;
pub mod error;
mod follow;
pub mod pick;
mod proxy;
mod stats;
pub mod table;
pub mod tag;
pub mod target;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use model::{Command, LbId, Replica};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use config::Config;
pub use error::Error;

use crate::{book::Book, follow::Follower, table::Table};

/// The last word to the cluster on shutdown; it may be gone already.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running load balancer.
#[derive(Debug)]
pub struct Handle {
    /// Where traffic is taken.
    pub addr: SocketAddr,
    /// Where the admin API is.
    pub admin_addr: SocketAddr,
    ready: watch::Receiver<bool>,
    view: admin::View,
    ended: JoinHandle<()>,
}

impl Handle {
    /// Until traffic is served: registered, and the first table is published.
    pub async fn ready(&self) {
        // An error means it was stopped before; there is nothing more to wait for.
        let _ = self.ready.clone().wait_for(|r| *r).await;
    }

    /// The routes of the moment, as `/api/routes` shows them.
    #[must_use]
    pub fn routes(&self) -> Vec<admin::wire::Route> {
        self.view.routes()
    }

    /// The admin API's view, for whoever shows the load balancer's figures elsewhere.
    #[must_use]
    pub fn view(&self) -> admin::View {
        self.view.clone()
    }

    /// Until it has stopped after `cancel`.
    pub async fn join(self) {
        // A panic was logged where it happened.
        let _ = self.ended.await;
    }
}

/// Start the load balancer; it stops in good order when `cancel` is.
///
/// Both ports are taken before this returns, so a port that is in use is an error here. Connections wait in the
/// kernel's queue until the load balancer is registered and knows its routes. Must be called within a tokio runtime,
/// which carries the admin API and the follower; traffic has its own threads.
pub fn start(
    config: Config,
    replica: Arc<dyn Replica>,
    id: LbId,
    node_name: String,
    cancel: CancellationToken,
) -> Result<Handle, Error> {
    config.validate()?;
    let config = Arc::new(config);
    let lanes = config.lanes();
    let listeners = bind::per_core("load balancer", "ports { lb }", config.listen, lanes)?;
    let admin_listener = bind::one("load balancer admin", "ports { lb_admin }", config.admin_listen)?;
    let local = |l: &std::net::TcpListener, fallback| l.local_addr().unwrap_or(fallback);
    let addr = listeners.first().map_or(config.listen, |l| local(l, config.listen));
    let admin_addr = local(&admin_listener, config.admin_listen);

    let table = Arc::new(ArcSwap::from_pointee(Table::default()));
    let counters = Arc::new(core::Counters::new(lanes));
    let idle = Arc::new(Notify::new());
    let (ready_tx, ready) = watch::channel(false);
    let (published_tx, published) = watch::channel(0);
    let stop = CancellationToken::new();
    let view = admin::View::new(&config, Arc::clone(&table), Arc::clone(&counters), addr, cancel.clone());

    let mut cores = Vec::with_capacity(lanes);
    for (lane, listener) in listeners.into_iter().enumerate() {
        let start = core::Start {
            lane,
            config: Arc::clone(&config),
            listener,
            table: Arc::clone(&table),
            counters: Arc::clone(&counters),
            ready: ready.clone(),
            published: published.clone(),
            stop: stop.clone(),
        };
        match spawn_core(start) {
            Ok(core) => cores.push(core),
            Err(error) => {
                stop.cancel();
                return Err(Error::Thread(error));
            }
        }
    }
    let book = Book::new(&config, Arc::clone(&idle));
    let follower = Follower {
        replica: Arc::clone(&replica),
        id,
        node: node_name,
        book,
        table,
        idle,
        ready: ready_tx,
        published: published_tx,
    };
    info!(%addr, admin = %admin_addr, cores = lanes, "load balancer listens");
    let running = Running { config, replica, id, cores, stop, cancel };
    let ended = tokio::spawn(running.run(follower, admin::serve(admin_listener, view.clone())));
    Ok(Handle { addr, admin_addr, ready, view, ended })
}

/// A core's thread says when it is over.
fn spawn_core(start: core::Start) -> std::io::Result<oneshot::Receiver<()>> {
    let (over, ended) = oneshot::channel();
    let lane = start.lane;
    std::thread::Builder::new().name(format!("lb-{lane}")).spawn(move || {
        // Dropped on a panic too.
        let _over: oneshot::Sender<()> = over;
        if let Err(error) = core::run(start) {
            error!(%error, lane, "a load balancer core stopped; its share of connections is refused");
        }
    })?;
    Ok(ended)
}

struct Running {
    config: Arc<Config>,
    replica: Arc<dyn Replica>,
    id: LbId,
    cores: Vec<oneshot::Receiver<()>>,
    stop: CancellationToken,
    cancel: CancellationToken,
}

impl Running {
    async fn run(self, follower: Follower, admin: impl Future<Output = ()> + Send + 'static) {
        // Should the runtime go away under us, the cores' threads must not stay.
        let _stop = self.stop.clone().drop_guard();
        let following = CancellationToken::new();
        let follow = tokio::spawn(follower.run(following.clone()));
        let admin = tokio::spawn(admin);
        self.cancel.cancelled().await;
        info!("load balancer is leaving");
        // Health says 503 from now on; whoever sends us traffic has this long to notice.
        tokio::time::sleep(self.config.shutdown_grace).await;
        self.stop.cancel();
        for core in self.cores {
            // An error is the end of a thread that panicked.
            let _ = core.await;
        }
        // Followed until here, so that instances leaving meanwhile were waited for.
        following.cancel();
        if follow.await.is_err() {
            error!("the load balancer's follower had stopped early");
        }
        let farewell = self.replica.propose(Command::LbDeregister { id: self.id });
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(%error, "could not deregister the load balancer"),
            Err(_) => warn!("could not deregister the load balancer in time"),
        }
        admin.abort();
        info!("load balancer stopped");
    }
}
