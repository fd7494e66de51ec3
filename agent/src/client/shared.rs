//! What the parts of one allocation's runner share: its task states, checks and health, and the way to report them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{
    AllocId, CheckId, ClientStatus, NodeId, Replica, TaskName,
    alloc::{AllocReport, CheckState, TaskState},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{alloc_dir::AllocDir, config::Config, journal::Journal, lifecycle, reporter::Reporter, view::View};
use crate::driver::{self, Drivers, Handle};

/// What every runner of this client uses.
pub struct Services {
    pub config: Config,
    pub node: NodeId,
    pub replica: Arc<dyn Replica>,
    pub drivers: Drivers,
    pub journal: Journal,
    pub reporter: Arc<Reporter>,
}

/// Something asked of a running task.
#[derive(Debug)]
pub enum Request {
    Restart { why: Restart, reply: Option<oneshot::Sender<Result<(), driver::Error>>> },
    Signal { name: String, reply: oneshot::Sender<Result<(), driver::Error>> },
}

/// Who wants a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    User,
    /// A check with `check_restart`, by name: counts against the restart policy.
    Check(String),
}

#[derive(Debug, Default)]
struct Inner {
    tasks: BTreeMap<TaskName, TaskState>,
    checks: BTreeMap<CheckId, CheckState>,
    healthy: Option<bool>,
    handles: BTreeMap<TaskName, Handle>,
}

/// One allocation on this client.
pub struct Shared {
    pub id: AllocId,
    pub services: Arc<Services>,
    pub dir: AllocDir,
    view: watch::Receiver<Arc<View>>,
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    requests: Mutex<BTreeMap<TaskName, mpsc::Sender<Request>>>,
}

impl Shared {
    /// Begin with what the servers know, so that a new agent does not take back what the one before it reported.
    #[must_use]
    pub fn new(services: Arc<Services>, view: watch::Receiver<Arc<View>>) -> Arc<Self> {
        let alloc = Arc::clone(&view.borrow().alloc);
        let inner = Inner {
            tasks: alloc.tasks.clone(),
            checks: alloc.checks.clone(),
            healthy: alloc.health.map(|h| h.healthy),
            ..Inner::default()
        };
        Arc::new(Self {
            id: alloc.id,
            dir: AllocDir::of(&services.config.data_dir, alloc.id),
            services,
            view,
            inner: Mutex::new(inner),
            changed: watch::Sender::new(0),
            requests: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change below is a whole one: what a panicking holder left is consistent.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Rises with every change of a task or check.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    #[must_use]
    pub fn tasks_and_checks(&self) -> (BTreeMap<TaskName, TaskState>, BTreeMap<CheckId, CheckState>) {
        let inner = self.lock();
        (inner.tasks.clone(), inner.checks.clone())
    }

    #[must_use]
    pub fn task(&self, name: &TaskName) -> Option<TaskState> {
        self.lock().tasks.get(name).cloned()
    }

    #[must_use]
    pub fn handle(&self, name: &TaskName) -> Option<Handle> {
        self.lock().handles.get(name).cloned()
    }

    #[must_use]
    pub fn handles(&self) -> BTreeMap<TaskName, Handle> {
        self.lock().handles.clone()
    }

    pub fn set_handle(&self, name: &TaskName, handle: Option<Handle>) {
        let mut inner = self.lock();
        match handle {
            Some(h) => inner.handles.insert(name.clone(), h),
            None => inner.handles.remove(name),
        };
    }

    /// A task is in a new state; the ticket of the report.
    pub fn set_task(&self, name: &TaskName, state: TaskState) -> u64 {
        let ticket = {
            let mut inner = self.lock();
            if inner.tasks.get(name) == Some(&state) {
                return 0;
            }
            inner.tasks.insert(name.clone(), state);
            self.report(&inner)
        };
        self.changed.send_modify(|n| *n += 1);
        ticket
    }

    /// A check has a new state, unless it was ended meanwhile.
    pub fn set_check(&self, id: CheckId, state: CheckState, ended: &CancellationToken) {
        {
            let mut inner = self.lock();
            if ended.is_cancelled() {
                return;
            }
            inner.checks.insert(id, state);
            self.report(&inner);
        }
        self.changed.send_modify(|n| *n += 1);
    }

    /// Forget the state of checks that do not run any more.
    pub fn keep_checks(&self, keep: impl Fn(&CheckId) -> bool) {
        {
            let mut inner = self.lock();
            let before = inner.checks.len();
            inner.checks.retain(|id, _| keep(id));
            if inner.checks.len() == before {
                return;
            }
            self.report(&inner);
        }
        self.changed.send_modify(|n| *n += 1);
    }

    pub fn set_healthy(&self, healthy: Option<bool>) {
        let mut inner = self.lock();
        if inner.healthy != healthy {
            inner.healthy = healthy;
            if healthy.is_some() {
                self.report(&inner);
            }
        }
    }

    /// Report what is, though nothing changed.
    pub fn report_again(&self) -> u64 {
        self.report(&self.lock())
    }

    fn report(&self, inner: &Inner) -> u64 {
        let view = self.view();
        let (client, description) = match view.group() {
            Some(group) => {
                let (status, words) = lifecycle::status(group, &inner.tasks);
                (status, words.to_owned())
            }
            None => (ClientStatus::Failed, "its task group is not in the job any more".to_owned()),
        };
        self.services.reporter.submit(AllocReport {
            id: self.id,
            client,
            client_description: description,
            tasks: inner.tasks.clone(),
            checks: inner.checks.clone(),
            healthy: inner.healthy,
        })
    }

    /// Where a task takes its requests.
    pub fn open_requests(&self, name: &TaskName) -> mpsc::Receiver<Request> {
        let (tx, rx) = mpsc::channel(8);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), tx);
        rx
    }

    /// Ask something of a task; `false` when it is over or has too much to do already.
    pub fn ask(&self, name: &TaskName, request: Request) -> bool {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.get(name).is_some_and(|tx| tx.try_send(request).is_ok())
    }
}

impl Shared {
    /// The driver of a task, if this client has it.
    #[must_use]
    pub fn driver_of(&self, name: &TaskName) -> Option<Arc<dyn driver::Driver>> {
        let view = self.view();
        let task = view.group()?.task(name)?;
        self.services.drivers.get(task.driver.as_str()).cloned()
    }
}
