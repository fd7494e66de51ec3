//! No leader: what is known is still served, and what must be said is said when there is one again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use model::{
    Command, ProposeError, Replica, State,
    command::Applied,
    replica::{Leadership, Waiters, local::LocalReplica},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Rig,
    catalog::passing,
    config, eventually,
    instance::Server,
    lb_id,
    leaving::{HOUR, awaited, start, stop},
};

/// A replica whose proposals fail while there is no leader. Reading goes on.
pub struct Leaderless {
    pub inner: Arc<LocalReplica>,
    pub led: AtomicBool,
}

impl Replica for Leaderless {
    fn snapshot(&self) -> Arc<State> {
        self.inner.snapshot()
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        match self.led.load(Ordering::SeqCst) {
            true => self.inner.propose(command),
            false => Box::pin(async { Err(ProposeError::NoLeader) }),
        }
    }

    fn waiters(&self) -> &Waiters {
        self.inner.waiters()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_clients_wait_and_nothing_is_forgotten() {
    let local = Arc::new(LocalReplica::new(State::default()));
    let replica = Arc::new(Leaderless { inner: Arc::clone(&local), led: AtomicBool::new(false) });
    let cancel = CancellationToken::new();
    let handle =
        crate::start(config(), Arc::clone(&replica) as _, lb_id(), "n1".into(), cancel.clone()).expect("starts");
    let rig = Rig { replica: local, handle, cancel };
    let a = Server::new("a").await;
    rig.apply(passing("web", "x", a.addr, &["urlprefix-/x"]));
    rig.routed(1).await;
    // Not registered, so not serving: an instance that left now would not wait for us.
    let addr = rig.addr();
    let early =
        tokio::spawn(
            async move { super::exchange(addr, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await },
        );
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!early.is_finished() && a.hits() == 0);
    replica.led.store(true, Ordering::SeqCst);
    assert_eq!(early.await.expect("ends").status, 200);
    assert!(rig.replica.snapshot().balancers.contains_key(&lb_id()));

    // The leader goes again: routes still follow what is applied, and the acknowledgement is made up for.
    let id = start(&rig, a.addr, &["urlprefix-/y"]);
    rig.routed(2).await;
    replica.led.store(false, Ordering::SeqCst);
    stop(&rig, id, HOUR);
    rig.routed(1).await;
    assert_eq!(rig.get("h", "/x").await.status, 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(awaited(&rig, id));
    replica.led.store(true, Ordering::SeqCst);
    eventually(|| !awaited(&rig, id)).await;
}
