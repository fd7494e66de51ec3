//! What one agent does for the services registered through it: runs their checks, lets TTLs expire, removes what
//! stays critical too long; and, while it leads, ends sessions.
//!
//! Registrations live in the replicated state, so they outlive the agent; only clocks live here. Services of
//! allocations are not touched: the client that runs them owns their checks.
//!
//! ```text
//!  state ─► duties::Clocks::step (plain function) ─► commands to propose, and when to look again
//!  state ─► checks: one task per check ─► CheckVerdict
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{CheckId, Command, NodeName, Replica, Timestamp, Topic};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

mod checks;
mod duties;
#[cfg(test)]
mod tests;

use duties::Clocks;
pub use duties::SERVER_SERVICE;

/// How long after a failed proposal it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The clocks the HTTP API and [`run`] share. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Local {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The RPC port this agent serves on, when it is a server.
    server_port: Option<u16>,
    /// When each TTL check was last reported.
    beats: Mutex<HashMap<CheckId, Instant>>,
    bell: Notify,
}

impl Local {
    /// `server_port`: the RPC port of an agent with the server role; it is announced as the service `consul`, which
    /// clients and the name servers of the zone are found by.
    #[must_use]
    pub fn new(server_port: Option<u16>) -> Self {
        Self { inner: Arc::new(Inner { server_port, ..Inner::default() }) }
    }

    /// A TTL check was reported: its time starts again.
    pub fn beat(&self, check: &CheckId) {
        self.inner.beats.lock().unwrap_or_else(PoisonError::into_inner).insert(check.clone(), Instant::now());
        self.inner.bell.notify_one();
    }
}

/// Do the duties of the node `node_name` until cancelled.
pub async fn run(replica: Arc<dyn Replica>, node_name: String, local: Local, cancel: CancellationToken) {
    let node = NodeName::from(node_name);
    let work = async {
        tokio::join!(
            checks::run(&*replica, &node, &cancel),
            keep_clocks(&*replica, &node, &local),
            end_sessions(&*replica)
        )
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        _ = work => {}
    }
    info!(%node, "local checks ended");
}

/// TTLs, removal of what stays critical, and this server's own announcement.
async fn keep_clocks(replica: &dyn Replica, node: &NodeName, local: &Local) {
    let topics = [Topic::CatalogNode(node.clone())];
    let mut clocks = Clocks::default();
    loop {
        let mut woken = replica.waiters().subscribe(&topics);
        let step = {
            let mut beats = local.inner.beats.lock().unwrap_or_else(PoisonError::into_inner);
            clocks.step(&replica.snapshot(), node, local.inner.server_port, &mut beats, Instant::now())
        };
        let mut next = step.next;
        for command in step.commands {
            if let Err(e) = replica.propose(command).await {
                warn!(error = %e, "a duty of the local agent was not done; trying again");
                next = Some(Instant::now() + RETRY);
            }
        }
        tokio::select! {
            () = woken.wait() => {}
            () = local.inner.bell.notified() => {}
            () = sleep_until(next) => {}
        }
    }
}

/// The leader ends sessions whose time is over, or whose node or checks are.
async fn end_sessions(replica: &dyn Replica) {
    let mut leadership = replica.leadership();
    loop {
        if !leadership.borrow_and_update().is_leader {
            if leadership.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        }
        let mut woken = replica.waiters().subscribe(&[Topic::Sessions, Topic::Checks, Topic::CatalogNodes]);
        let (over, next) = duties::sessions_over(&replica.snapshot(), now());
        let mut pause = next;
        for (id, why) in over {
            info!(session = %id, why, "session ends");
            if let Err(e) = replica.propose(Command::SessionDestroy { id, at: now() }).await {
                warn!(session = %id, error = %e, "session was not ended; trying again");
                pause = Some(RETRY);
            }
        }
        tokio::select! {
            () = woken.wait() => {}
            _ = leadership.changed() => {}
            () = sleep_until(pause.map(|d| Instant::now() + d)) => {}
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// The wall clock, as commands carry it.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
