//! The client's loop: what the state says this node runs, against what it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{AllocId, Index, Topic};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    alloc_dir::AllocDir,
    alloc_runner::{AllocRunner, Order},
    journal::Phase,
    shared::{Services, Shared},
    view::View,
};
use crate::driver::{Handle, TaskKey};

/// One allocation's runner, seen from outside.
struct Entry {
    shared: Arc<Shared>,
    view: watch::Sender<Arc<View>>,
    orders: watch::Sender<Order>,
    /// Turns true when no task of it runs any more.
    over: watch::Receiver<bool>,
}

/// Every allocation this client runs or has run and not yet forgotten.
pub struct Runners {
    pub services: Arc<Services>,
    cancel: CancellationToken,
    tracker: TaskTracker,
    entries: Mutex<BTreeMap<AllocId, Entry>>,
}

impl Runners {
    #[must_use]
    pub fn new(services: Arc<Services>, cancel: CancellationToken) -> Self {
        Self { services, cancel, tracker: TaskTracker::new(), entries: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AllocId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn shared(&self, id: AllocId) -> Option<Arc<Shared>> {
        self.lock().get(&id).map(|e| Arc::clone(&e.shared))
    }

    /// No task of it runs, as far as this client knows.
    #[must_use]
    pub fn over(&self, id: AllocId) -> bool {
        self.lock().get(&id).is_none_or(|e| *e.over.borrow())
    }

    /// Forget an allocation that is over.
    pub fn forget(&self, id: AllocId) {
        self.lock().remove(&id);
    }

    /// End every task of every allocation.
    pub async fn end_all(&self) {
        let waiting: Vec<_> = self
            .lock()
            .values()
            .map(|e| {
                e.orders.send_replace(Order::End);
                e.over.clone()
            })
            .collect();
        for mut over in waiting {
            // An error means that the runner is gone, and so over.
            let _ = over.wait_for(|o| *o).await;
        }
    }

    fn begin(&self, view: View) {
        let id = view.alloc.id;
        let (view_tx, view_rx) = watch::channel(Arc::new(view));
        let (orders_tx, orders) = watch::channel(Order::None);
        let (over_tx, over) = watch::channel(false);
        let shared = Shared::new(Arc::clone(&self.services), view_rx);
        let runner = AllocRunner { shared: Arc::clone(&shared), orders, cancel: self.cancel.clone() };
        self.tracker.spawn(async move {
            let finished = runner.run().await;
            over_tx.send_replace(true);
            tracing::debug!(alloc = %id, ?finished, "runner ended");
        });
        info!(alloc = %id, "allocation received");
        self.lock().insert(id, Entry { shared, view: view_tx, orders: orders_tx, over });
    }

    /// Bring runners in line with one snapshot of the state.
    fn look(&self) -> Vec<AllocId> {
        let state = self.services.replica.snapshot();
        let mut here = BTreeSet::new();
        for alloc in state.allocs_on_node(self.services.node) {
            here.insert(alloc.id);
            let Some(view) = View::of(&state, alloc.id, self.services.node) else { continue };
            let known = {
                let entries = self.lock();
                if let Some(entry) = entries.get(&alloc.id) {
                    entry.view.send_if_modified(|v| {
                        let differs = !v.same_wish(&view);
                        *v = Arc::new(view.clone());
                        differs
                    });
                    true
                } else {
                    false
                }
            };
            if !known && (!alloc.client.terminal() || self.has_live_record(&view)) {
                self.begin(view);
            }
        }
        let gone: Vec<AllocId> = self.lock().keys().filter(|id| !here.contains(id)).copied().collect();
        for id in &gone {
            if let Some(entry) = self.lock().get(id) {
                entry.orders.send_if_modified(|o| {
                    let differs = *o != Order::End;
                    *o = Order::End;
                    differs
                });
            }
        }
        gone
    }

    /// The servers believe it is over, but a task of it may still run here.
    fn has_live_record(&self, view: &View) -> bool {
        view.group().is_some_and(|g| {
            g.tasks.iter().any(|t| {
                let key = TaskKey { alloc: view.alloc.id, task: t.name.clone() };
                let record = self.services.journal.get(&key);
                record.is_some_and(|r| matches!(r.phase, Phase::Intent(_) | Phase::Running(_)))
            })
        })
    }

    /// Tasks of allocations that the state does not know: end them, and forget their directories.
    async fn end_strays(&self) {
        let state = self.services.replica.snapshot();
        let stray = |id: &AllocId| state.allocs.get(id).is_none_or(|a| a.node != self.services.node);
        let mut handles: BTreeMap<TaskKey, (String, Handle)> = BTreeMap::new();
        for (key, record) in self.services.journal.all() {
            if let (true, Phase::Running(handle)) = (stray(&key.alloc), record.phase) {
                handles.insert(key, (record.driver, handle));
            }
        }
        for (name, driver) in &self.services.drivers {
            match driver.survivors().await {
                Ok(found) => handles.extend(
                    found.into_iter().filter(|h| stray(&h.key.alloc)).map(|h| (h.key.clone(), ((*name).to_owned(), h))),
                ),
                Err(e) => warn!(driver = name, error = %e, "cannot ask the driver what still runs"),
            }
        }
        let mut allocs = BTreeSet::new();
        for (key, (driver, handle)) in handles {
            warn!(task = %key, %driver, "ending a task of an allocation nobody knows");
            let Some(driver) = self.services.drivers.get(driver.as_str()) else { continue };
            for step in [driver.kill(&handle).await, driver.destroy(&handle).await] {
                if let Err(e) = step {
                    warn!(task = %key, error = %e, "a stray task could not be ended cleanly");
                }
            }
            allocs.insert(key.alloc);
        }
        for (key, _) in self.services.journal.all() {
            if stray(&key.alloc) {
                allocs.insert(key.alloc);
            }
        }
        for id in allocs {
            self.clear(id).await;
        }
    }

    /// Remove what an ended allocation left on disk.
    pub async fn clear(&self, id: AllocId) {
        if let Err(e) = self.services.journal.forget(id).await {
            warn!(alloc = %id, error = %e, "the journal still remembers an allocation that is gone");
        }
        let dir = AllocDir::of(&self.services.config.data_dir, id);
        let removed = tokio::task::spawn_blocking(move || dir.remove()).await;
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(e)) => warn!(alloc = %id, error = %e, "the directory of an ended allocation could not be removed"),
            Err(e) => warn!(alloc = %id, error = %e, "removing a directory died"),
        }
    }
}

/// Follow the state until cancelled. `synced`: the index from which the local state is known to be complete.
pub async fn run(runners: Arc<Runners>, synced: Index) {
    let services = Arc::clone(&runners.services);
    let mut applied = services.replica.waiters().applied();
    tokio::select! {
        r = applied.wait_for(|i| *i >= synced) => {
            if r.is_err() {
                warn!("the state is gone; the client ends");
                return;
            }
        }
        () = runners.cancel.cancelled() => return,
    }
    runners.end_strays().await;
    loop {
        let mut bell = services.replica.waiters().subscribe(&[Topic::NodeAllocs(services.node)]);
        for id in runners.look() {
            if runners.over(id) {
                runners.forget(id);
                runners.clear(id).await;
            }
        }
        tokio::select! {
            () = bell.wait() => {}
            () = runners.cancel.cancelled() => break,
            // Allocations that are being ended because the state forgot them.
            () = tokio::time::sleep(std::time::Duration::from_secs(5)) => {}
        }
    }
    runners.tracker.close();
    runners.tracker.wait().await;
}
