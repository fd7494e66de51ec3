//! The leader's loops: they run where leadership is, and nowhere else.
//!
//! One watcher compares each published state with the one before it (structure sharing makes that cost what changed) and
//! feeds everybody else; nothing polls.
//!
//! ```text
//!  published state ─► watch.rs ─┬─► broker ─► worker.rs ─► plan_applier.rs ─► Command::Plans
//!                               ├─► blocked evaluations ─┘ when room was freed
//!                               ├─► deployments.rs, drain.rs ─► commands
//!                               └─► timers: delays, deadlines, collection
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{Eval, EvalId, Replica, Timestamp};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub mod deployments;
pub mod drain;
pub mod gc;
pub mod plan_applier;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use crate::queue::broker::{Broker, Delivery, Returned};

/// Plans that wait for the applier before workers are held back.
const PLANS_WAITING: usize = 128;

/// Pause before the loops are started anew after one of them died.
const BEFORE_ANEW: Duration = Duration::from_secs(1);

/// How the leader's loops run.
#[derive(Clone, Debug)]
pub struct LeaderConfig {
    /// Evaluations worked on at the same time.
    pub workers: usize,
    /// How often old records are collected.
    pub gc_interval: Duration,
}

impl Default for LeaderConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        // One evaluation saturates a core; more workers than cores only add conflicts between plans.
        Self { workers: cores.clamp(1, 16), gc_interval: gc::INTERVAL }
    }
}

/// Now, as commands carry it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// What the watcher and the workers share.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    broker: Mutex<Broker>,
    ready: Notify,
    /// Work for the watcher: evaluations to deliver again later, given up, or made superfluous.
    returned: Mutex<Vec<Returned>>,
    superfluous: Mutex<Vec<Arc<Eval>>>,
    for_watcher: Notify,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one call that cannot be half done.
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    fn enqueue(&self, evals: impl IntoIterator<Item = Arc<Eval>>) {
        let mut broker = lock(&self.broker);
        for eval in evals {
            broker.enqueue(eval);
            self.ready.notify_one();
        }
    }

    fn forget(&self, id: EvalId) {
        lock(&self.broker).forget(id);
        // Forgetting one may have brought another forward.
        self.ready.notify_one();
    }

    /// The next evaluation, whenever there is one.
    async fn next(&self) -> Delivery {
        loop {
            let (delivery, more) = {
                let mut broker = lock(&self.broker);
                let delivery = broker.dequeue(now());
                (delivery, broker.counts().0 > 0)
            };
            if more {
                // A stored permit is only one: pass it on.
                self.ready.notify_one();
            }
            match delivery {
                Some(d) => return d,
                None => self.ready.notified().await,
            }
        }
    }

    fn done(&self, d: &Delivery) {
        let older = lock(&self.broker).ack(d.eval.id, d.token);
        self.ready.notify_one();
        if !older.is_empty() {
            lock(&self.superfluous).extend(older);
            self.for_watcher.notify_one();
        }
    }

    fn give_back(&self, d: &Delivery) {
        let returned = lock(&self.broker).nack(d.eval.id, d.token, now());
        self.ready.notify_one();
        lock(&self.returned).push(returned);
        self.for_watcher.notify_one();
    }
}

/// Run the leader's loops whenever this agent leads, until cancelled.
pub async fn run(replica: Arc<dyn Replica>, config: LeaderConfig, cancel: CancellationToken) {
    let mut leadership = replica.leadership();
    loop {
        let leads = leadership.borrow_and_update().is_leader;
        if leads {
            let term = cancel.child_token();
            let work = lead(Arc::clone(&replica), &config, term.clone());
            let over = async {
                while leadership.changed().await.is_ok() {
                    if !leadership.borrow_and_update().is_leader {
                        return true;
                    }
                }
                false
            };
            tokio::select! {
                () = work => {
                    // A loop died. The state is intact, so begin the term's loops anew, but do not spin.
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        () = tokio::time::sleep(BEFORE_ANEW) => continue,
                    }
                }
                lost = over => {
                    term.cancel();
                    info!("leadership ended; leader loops stopped");
                    if lost {
                        continue;
                    }
                    // Replication has stopped: nobody will lead here again, and the agent still answers reads.
                    return cancel.cancelled().await;
                }
                () = cancel.cancelled() => return,
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return cancel.cancelled().await },
        }
    }
}

/// One term's loops; returns when cancelled.
async fn lead(replica: Arc<dyn Replica>, config: &LeaderConfig, cancel: CancellationToken) {
    info!(workers = config.workers, "leading: leader loops start");
    // Dropping the guard (this future is dropped when leadership ends) stops every loop.
    let _guard = cancel.clone().drop_guard();
    let desk = Arc::new(Desk::default());
    let (plans, inbox) = mpsc::channel(PLANS_WAITING);
    let mut loops = JoinSet::new();
    loops.spawn(plan_applier::run(Arc::clone(&replica), inbox, cancel.clone()));
    for _ in 0..config.workers.max(1) {
        loops.spawn(worker::run(Arc::clone(&replica), Arc::clone(&desk), plans.clone(), cancel.clone()));
    }
    loops.spawn(watch::run(replica, desk, config.gc_interval, cancel.clone()));
    while let Some(ended) = loops.join_next().await {
        if let Err(e) = ended {
            error!(error = %e, "a leader loop died; all of them start anew");
            return;
        }
    }
}
