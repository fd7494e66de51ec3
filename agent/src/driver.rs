//! Task drivers: how a task becomes a process or a container, behind one trait.
//!
//! Owns the trait, what goes in ([`TaskSpec`]) and what comes out ([`Handle`], [`Exit`], [`Error`]). A driver refuses
//! to decide anything: when to start, restart or stop a task is the client's business.
//!
//! ```text
//!  TaskSpec ─► start ─► Handle ─► wait ─► Exit            a Handle is written to the journal, so that the
//!                         └► signal · kill · exec · usage    next agent can go on with the same task
//! ```

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{
    AllocId, TaskName,
    driver_config::Value,
    job::Logs,
    node::DriverInfo,
    resource::{GivenTask, NetworkMode, PortMapping},
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

pub mod cgroup;
#[cfg(test)]
mod conformance;
pub mod docker;
pub mod fields;
pub mod mock;
pub mod process;
pub mod raw_exec;
pub mod shim;
pub mod signals;

/// A task of an allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    pub alloc: AllocId,
    pub task: TaskName,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.alloc.short(), self.task)
    }
}

impl fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.alloc, self.task)
    }
}

/// The directories of a task on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// `<alloc>/alloc`, shared by the tasks of an allocation.
    pub shared: PathBuf,
    /// `<alloc>/<task>`.
    pub task: PathBuf,
    pub local: PathBuf,
    pub secrets: PathBuf,
    /// `<alloc>/alloc/logs`.
    pub logs: PathBuf,
}

/// A host directory that a task sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub host: PathBuf,
    pub destination: String,
    pub read_only: bool,
}

/// Everything a driver needs to start a task once; all `${…}` are filled in.
#[derive(Clone, Debug)]
pub struct TaskSpec {
    pub key: TaskKey,
    /// Tells one start of the task from the next; rises.
    pub run: u64,
    pub config: Value,
    pub env: BTreeMap<String, String>,
    pub user: String,
    pub dirs: Dirs,
    pub logs: Logs,
    pub given: GivenTask,
    /// Every port of the allocation; the task's own legacy ones carry its name.
    pub ports: Vec<PortMapping>,
    pub network: NetworkMode,
    pub dns: Dns,
    pub mounts: Vec<Mount>,
}

/// Resolver settings of the group's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    pub hostname: String,
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// How to find a started task again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub key: TaskKey,
    pub run: u64,
    pub detail: Detail,
}

/// What a handle holds, per driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// `dir` is the run directory shared with the shim; `start` is the process's start time in clock ticks since boot.
    Process {
        dir: PathBuf,
        pid: i32,
        start: u64,
    },
    /// `logs` is where the container's output goes.
    Container {
        id: String,
        logs: LogTarget,
    },
    Mock,
}

/// Where the output of a task goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTarget {
    pub dir: PathBuf,
    /// The task's name: files are `<name>.stdout.<n>` and `<name>.stderr.<n>`.
    pub name: String,
    pub max_files: u32,
    pub max_bytes: u64,
    pub disabled: bool,
}

impl LogTarget {
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            dir: spec.dirs.logs.clone(),
            name: spec.key.task.as_str().to_owned(),
            max_files: spec.logs.max_files.max(1),
            max_bytes: u64::from(spec.logs.max_file_size_mb.max(1)) << 20,
            disabled: spec.logs.disabled,
        }
    }
}

/// How a task ended. A task killed by a signal has code 128 + signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
    /// 0 when it ended by itself.
    pub signal: i32,
    pub out_of_memory: bool,
    /// Why the status is not known, when it is not.
    pub lost: Option<String>,
}

impl Exit {
    #[must_use]
    pub const fn success(&self) -> bool {
        self.code == 0 && self.signal == 0 && !self.out_of_memory && self.lost.is_none()
    }
}

/// What a task uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since its start, in nanoseconds.
    pub cpu_ns: u64,
    pub memory_bytes: u64,
    pub rss_bytes: u64,
    pub pids: u32,
}

/// Where the task finds its directories, as it sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenDirs {
    pub alloc: String,
    pub local: String,
    pub secrets: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job file must change.
    #[error("{0}")]
    Config(String),
    /// The task did not start; `retry` when another attempt may succeed without a change.
    #[error("{message}")]
    Start { message: String, retry: bool },
    /// What the driver drives does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The task is not there any more.
    #[error("task {0} is not running")]
    Gone(TaskKey),
    #[error("invalid signal: {0:?}")]
    Signal(String),
    #[error("{0}")]
    NotBuilt(String),
    #[error("cannot {action}: {source}")]
    Io { action: String, source: std::io::Error },
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Another start may succeed with nothing changed in the job.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Start { retry, .. } => *retry,
            Self::Unavailable(_) | Self::Io { .. } => true,
            _ => false,
        }
    }
}

/// A task driver. Methods may be called from many tasks at once.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// The word in `driver = "…"`.
    fn name(&self) -> &'static str;

    /// The stop signal when the job names none.
    fn default_signal(&self) -> Signal {
        Signal::SIGINT
    }

    /// Host directories can be shown to the task at a path of the job's choice.
    fn mounts(&self) -> bool {
        false
    }

    /// Whether it can be used here, and what there is to know about it.
    async fn fingerprint(&self) -> DriverInfo;

    /// Refuse a `config` block that can never work.
    fn validate(&self, config: &Value) -> Result<(), Error>;

    /// The paths under which a task will find its directories.
    fn seen_dirs(&self, dirs: &Dirs) -> SeenDirs {
        SeenDirs {
            alloc: dirs.shared.display().to_string(),
            local: dirs.local.display().to_string(),
            secrets: dirs.secrets.display().to_string(),
        }
    }

    /// Ports inside the task's own network, by label, where the block maps them.
    fn container_ports(&self, _config: &Value) -> BTreeMap<String, u16> {
        BTreeMap::new()
    }

    /// Start a task. When this returns an error, nothing of it runs.
    async fn start(&self, spec: &TaskSpec) -> Result<Handle, Error>;

    /// A task whose start was meant but not confirmed, or (`run` absent) any that is left of it.
    ///
    /// After `None` nothing of the task runs, and nothing will come to run late.
    async fn find(&self, key: &TaskKey, run: Option<u64>) -> Result<Option<Handle>, Error>;

    /// Go on with a task of an earlier agent: resume what the agent itself does for it.
    async fn recover(&self, handle: &Handle) -> Result<(), Error>;

    /// Until the task ends. May be called again, and after the end.
    async fn wait(&self, handle: &Handle) -> Result<Exit, Error>;

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<(), Error>;

    /// End the task and everything it started, now.
    async fn kill(&self, handle: &Handle) -> Result<(), Error>;

    /// Forget an ended task: remove its container or control files.
    async fn destroy(&self, handle: &Handle) -> Result<(), Error>;

    async fn usage(&self, handle: &Handle) -> Result<Usage, Error>;

    /// Run a command in the task's context; exit code and output (bounded).
    async fn exec(&self, handle: &Handle, command: &[String], timeout: Duration) -> Result<(i32, String), Error>;

    /// Tasks of this agent that are alive, journal or not: for rebuilding it and for ending strays.
    async fn survivors(&self) -> Result<Vec<Handle>, Error>;
}

/// The drivers of an agent, by name.
pub type Drivers = BTreeMap<&'static str, Arc<dyn Driver>>;
