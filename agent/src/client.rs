//! The client role: registers this machine as a node and runs the allocations placed on it.
//!
//! Owns: the node's description, one runner per allocation, the drivers, the journal, checks of the allocations'
//! services, their logs and files over HTTP. Refuses to decide where anything runs: it does what the state says.
//!
//! ```text
//!  State ── NodeAllocs(node) ──► follow ──► AllocRunner ──► TaskRunner ──► Driver
//!                                                │ task states, checks, health
//!  Command::AllocReports ◄── Reporter ◄──────────┘
//! ```

use std::{path::PathBuf, sync::Arc, time::Duration};

use model::{AllocId, NodeId, Replica, TaskName};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::driver::{self, Driver, Drivers, docker, mock::Mock, raw_exec};

pub mod alloc_dir;
mod alloc_runner;
mod checks;
mod clock;
mod collect;
pub mod config;
mod environment;
mod events;
pub mod fingerprint;
mod follow;
mod health;
pub mod http;
pub mod journal;
mod lifecycle;
mod registration;
mod reporter;
mod restart;
mod shared;
mod task_runner;
#[cfg(test)]
mod tests;
mod view;

pub use config::Config;
use follow::Runners;
use journal::Journal;
use reporter::Reporter;
use shared::{Request, Restart, Services, Shared};

/// How long ending all tasks may take when a dev agent leaves.
const STOP_ALL_WITHIN: Duration = Duration::from_secs(45);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action}: {source}")]
    Io { action: String, source: std::io::Error },
    #[error("{0} does not hold a node id; remove it to let this machine join as a new node")]
    NodeId(PathBuf),
    #[error("{0} is in use by another agent; stop it, or give this one another data_dir")]
    InUse(PathBuf),
    #[error("the journal {dir} cannot be made: {reason}")]
    Journal { dir: PathBuf, reason: String },
    #[error("cannot write the journal of running tasks: {0}")]
    Store(String),
    #[error("cannot register this node: {0}")]
    Register(String),
    #[error(transparent)]
    Driver(#[from] driver::Error),
    /// The job must change before the task can run here.
    #[error("{0}")]
    Task(String),
    #[error("Unknown allocation {0:?}")]
    UnknownAlloc(String),
    #[error("allocation {alloc} has no task {task:?}; it has {has}")]
    UnknownTask { alloc: AllocId, task: String, has: String },
}

/// The client role; see [`Client::start`].
#[derive(Debug)]
pub struct Client;

impl Client {
    /// Register this machine as a node and begin to run its allocations.
    ///
    /// Returns once the node is registered. Ends when `cancel` is: tasks go on then, unless
    /// [`Handle::stop_all_tasks`] was called before.
    pub async fn start(config: Config, replica: Arc<dyn Replica>, cancel: CancellationToken) -> Result<Handle, Error> {
        let make = |dir: PathBuf| {
            std::fs::create_dir_all(&dir)
                .map_err(|source| Error::Io { action: format!("create {}", dir.display()), source })
        };
        make(config.data_dir.join("client"))?;
        make(config.data_dir.join("alloc"))?;
        // Absolute, because shims and containers do not share our working directory.
        let mut config = config;
        config.data_dir = std::fs::canonicalize(&config.data_dir)
            .map_err(|source| Error::Io { action: format!("find {}", config.data_dir.display()), source })?;
        let id = fingerprint::node_id(&config.data_dir)?;
        let journal_dir = config.data_dir.join("client").join("journal");
        let journal = tokio::task::spawn_blocking(move || Journal::open(&journal_dir))
            .await
            .map_err(|e| Error::Store(e.to_string()))??;
        let drivers = drivers(&config, id);
        let services = Arc::new(Services { config, node: id, replica, drivers, journal, reporter: Reporter::new() });
        let synced = registration::register(&services, &cancel).await?;
        let tracker = TaskTracker::new();
        let runners = Arc::new(Runners::new(Arc::clone(&services), cancel.clone()));
        // Reports outlive the runners a little: their last words are theirs.
        let reporting = CancellationToken::new();
        {
            let (services, reporting) = (Arc::clone(&services), reporting.clone());
            tracker.spawn(async move { services.reporter.run(&*services.replica, reporting).await });
        }
        tracker.spawn(registration::keep(Arc::clone(&services), cancel.clone()));
        tracker.spawn(collect::run(Arc::clone(&runners), cancel.clone()));
        {
            let runners = Arc::clone(&runners);
            tracker.spawn(async move {
                follow::run(runners, synced).await;
                reporting.cancel();
            });
        }
        tracker.close();
        Ok(Handle { services, runners, tracker })
    }
}

fn drivers(config: &Config, id: NodeId) -> Drivers {
    let raw = raw_exec::RawExec::new(raw_exec::Config {
        enabled: config.raw_exec_enabled,
        runs_dir: config.data_dir.join("client").join("runs"),
        shim: config.shim.clone(),
    });
    let mut all: Vec<Arc<dyn Driver>> = vec![raw];
    if config.mock_enabled {
        all.push(Mock::new(true));
    }
    if config.docker.enabled {
        all.push(docker::Docker::new(docker::Config {
            endpoint: config.docker.endpoint.clone(),
            volumes_enabled: config.docker.volumes_enabled,
            allow_privileged: config.docker.allow_privileged,
            pull_timeout: config.docker.pull_timeout,
            owner: id.to_string(),
            state_dir: config.data_dir.join("client").join("docker"),
        }));
    }
    all.into_iter().map(|d| (d.name(), d)).collect()
}

/// A running client. Clones are the same client.
#[derive(Clone)]
pub struct Handle {
    services: Arc<Services>,
    runners: Arc<Runners>,
    tracker: TaskTracker,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("client::Handle").field("node", &self.services.node).finish_non_exhaustive()
    }
}

impl Handle {
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.services.node
    }

    /// End every task, as a dev agent does before it leaves. Call before cancelling. Bounded in time.
    pub async fn stop_all_tasks(&self) {
        if tokio::time::timeout(STOP_ALL_WITHIN, self.runners.end_all()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
    }

    /// Until everything the client started has ended after its cancellation.
    pub async fn join(&self) {
        self.tracker.wait().await;
    }

    /// Restart tasks of an allocation; `None` = every running one.
    pub async fn restart(&self, alloc: AllocId, task: Option<&TaskName>) -> Result<(), Error> {
        let shared = self.shared(alloc)?;
        let names = match task {
            Some(name) => vec![self.known_task(&shared, name)?],
            None => shared.handles().into_keys().collect(),
        };
        let mut answers = Vec::new();
        for name in names {
            let (tx, rx) = oneshot::channel();
            shared.ask(&name, Request::Restart { why: Restart::User, reply: Some(tx) });
            answers.push((name, rx));
        }
        self.collect(alloc, answers).await
    }

    /// Send a signal to one task, or to every running one.
    pub async fn signal(&self, alloc: AllocId, task: Option<&TaskName>, signal: &str) -> Result<(), Error> {
        let shared = self.shared(alloc)?;
        driver::signals::parse(signal)?;
        let names = match task {
            Some(name) => vec![self.known_task(&shared, name)?],
            None => shared.handles().into_keys().collect(),
        };
        let mut answers = Vec::new();
        for name in names {
            let (tx, rx) = oneshot::channel();
            shared.ask(&name, Request::Signal { name: signal.to_owned(), reply: tx });
            answers.push((name, rx));
        }
        self.collect(alloc, answers).await
    }

    async fn collect(
        &self,
        alloc: AllocId,
        answers: Vec<(TaskName, oneshot::Receiver<Result<(), driver::Error>>)>,
    ) -> Result<(), Error> {
        if answers.is_empty() {
            return Err(Error::Task("Task not running".into()));
        }
        for (task, answer) in answers {
            // A runner that is over drops the question.
            let gone = || driver::Error::Gone(driver::TaskKey { alloc, task });
            answer.await.unwrap_or_else(|_| Err(gone()))?;
        }
        Ok(())
    }

    fn shared(&self, alloc: AllocId) -> Result<Arc<Shared>, Error> {
        self.runners.shared(alloc).ok_or_else(|| Error::UnknownAlloc(alloc.to_string()))
    }

    fn known_task(&self, shared: &Shared, name: &TaskName) -> Result<TaskName, Error> {
        let (tasks, _) = shared.tasks_and_checks();
        if tasks.contains_key(name) {
            return Ok(name.clone());
        }
        let has: Vec<_> = tasks.keys().map(|t| t.as_str().to_owned()).collect();
        Err(Error::UnknownTask { alloc: shared.id, task: name.to_string(), has: has.join(", ") })
    }
}
