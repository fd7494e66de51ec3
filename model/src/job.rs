//! A job as the scheduler sees it: canonical, defaults filled in, nothing foreign left.
//!
//! Defaults and meanings follow Nomad's job specification; wire names live in the HTTP layer.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    driver_config::Value,
    id::{GroupName, Index, JobId, Namespace, TaskName},
    resource::{Network, TaskResources},
    service::Service,
    time::Timestamp,
};

/// A job's identity in the cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    pub namespace: Namespace,
    pub id: JobId,
}

impl JobKey {
    #[must_use]
    pub fn new(namespace: impl Into<Namespace>, id: impl Into<JobId>) -> Self {
        Self { namespace: namespace.into(), id: id.into() }
    }
}

impl fmt::Debug for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.id)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobKind {
    #[default]
    Service,
    Batch,
    System,
    Sysbatch,
}

impl JobKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
            Self::System => "system",
            Self::Sysbatch => "sysbatch",
        }
    }

    /// One allocation on every feasible node instead of `count` anywhere.
    #[must_use]
    pub const fn per_node(self) -> bool {
        matches!(self, Self::System | Self::Sysbatch)
    }

    /// Tasks are expected to end; a successful end is not replaced.
    #[must_use]
    pub const fn runs_to_completion(self) -> bool {
        matches!(self, Self::Batch | Self::Sysbatch)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Derived by `apply` from the job's evaluations and allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    #[default]
    Pending,
    Running,
    Dead,
}

impl JobStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// A registered job. The last block of fields belongs to the state, not to the job file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub namespace: Namespace,
    pub name: String,
    pub region: String,
    pub kind: JobKind,
    /// 1..=100; 50 when unset.
    pub priority: u8,
    pub all_at_once: bool,
    /// Globs; `["*"]` when unset.
    pub datacenters: Vec<String>,
    pub node_pool: String,
    pub constraints: Vec<Constraint>,
    pub affinities: Vec<Affinity>,
    pub spreads: Vec<Spread>,
    pub groups: Vec<Group>,
    pub meta: BTreeMap<String, String>,
    pub periodic: Option<Periodic>,
    pub parameterized: Option<Parameterized>,
    /// Blocks that were read and are kept for round trips, but that no part of Trine acts on.
    pub inert: Vec<InertBlock>,
    /// The text the job was submitted as, when the client sent it.
    pub source: Option<String>,

    pub stop: bool,
    pub status: JobStatus,
    pub stable: bool,
    /// 0 for the first registration; rises when the specification changes.
    pub version: u64,
    pub submit_time: Timestamp,
    pub create_index: Index,
    pub modify_index: Index,
    /// Rises only when the specification changes, not when the status does.
    pub job_modify_index: Index,
}

impl Job {
    #[must_use]
    pub fn key(&self) -> JobKey {
        JobKey { namespace: self.namespace.clone(), id: self.id.clone() }
    }

    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<&Group> {
        self.groups.iter().find(|g| g.name == *name)
    }

    /// Periodic and parameterized jobs are templates: registering one starts nothing.
    #[must_use]
    pub const fn is_template(&self) -> bool {
        self.periodic.is_some() || self.parameterized.is_some()
    }

    /// The same specification, whatever the state has written into the other fields.
    #[must_use]
    pub fn same_spec(&self, other: &Self) -> bool {
        let blank = |j: &Self| Self {
            stop: false,
            status: JobStatus::Pending,
            stable: false,
            version: 0,
            submit_time: Timestamp::ZERO,
            create_index: Index(0),
            modify_index: Index(0),
            job_modify_index: Index(0),
            source: None,
            ..j.clone()
        };
        blank(self) == blank(other)
    }
}

impl Default for Job {
    fn default() -> Self {
        Self {
            id: "".into(),
            namespace: Namespace::default(),
            name: String::new(),
            region: "global".into(),
            kind: JobKind::Service,
            priority: 50,
            all_at_once: false,
            datacenters: vec!["*".into()],
            node_pool: "default".into(),
            constraints: Vec::new(),
            affinities: Vec::new(),
            spreads: Vec::new(),
            groups: Vec::new(),
            meta: BTreeMap::new(),
            periodic: None,
            parameterized: None,
            inert: Vec::new(),
            source: None,
            stop: false,
            status: JobStatus::Pending,
            stable: false,
            version: 0,
            submit_time: Timestamp::ZERO,
            create_index: Index(0),
            modify_index: Index(0),
            job_modify_index: Index(0),
        }
    }
}

/// A block Trine reads but does not act on, with where it stood (`group "x" > task "y" > template`).
/// Registration refuses a job whose behaviour would depend on one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InertBlock {
    /// The block's type: `template`, `artifact`, `vault`, `connect`, …
    pub kind: String,
    /// Where it stands, for messages.
    pub place: String,
    pub body: Value,
}

/// A task group: tasks that are placed together on one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: GroupName,
    pub count: u32,
    pub constraints: Vec<Constraint>,
    pub affinities: Vec<Affinity>,
    pub spreads: Vec<Spread>,
    pub tasks: Vec<Task>,
    pub networks: Vec<Network>,
    pub services: Vec<Service>,
    pub volumes: BTreeMap<String, VolumeRequest>,
    pub restart: RestartPolicy,
    pub reschedule: ReschedulePolicy,
    /// `None` for types that have no deployments (batch, sysbatch).
    pub update: Option<Update>,
    pub migrate: Migrate,
    pub disk: EphemeralDisk,
    pub meta: BTreeMap<String, String>,
    pub shutdown_delay: Duration,
    /// `min`/`max` of a `scaling` block.
    pub scaling: Option<Scaling>,
    pub disconnect: Option<Disconnect>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            name: "".into(),
            count: 1,
            constraints: Vec::new(),
            affinities: Vec::new(),
            spreads: Vec::new(),
            tasks: Vec::new(),
            networks: Vec::new(),
            services: Vec::new(),
            volumes: BTreeMap::new(),
            restart: RestartPolicy::default(),
            reschedule: ReschedulePolicy::default(),
            update: None,
            migrate: Migrate::default(),
            disk: EphemeralDisk::default(),
            meta: BTreeMap::new(),
            shutdown_delay: Duration::ZERO,
            scaling: None,
            disconnect: None,
        }
    }
}

impl Group {
    /// Services of the group and of its tasks, in file order.
    pub fn all_services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().chain(self.tasks.iter().flat_map(|t| &t.services))
    }

    #[must_use]
    pub fn task(&self, name: &TaskName) -> Option<&Task> {
        self.tasks.iter().find(|t| t.name == *name)
    }
}

/// One process or container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub name: TaskName,
    pub driver: String,
    pub user: String,
    pub config: Value,
    pub env: BTreeMap<String, String>,
    pub meta: BTreeMap<String, String>,
    pub constraints: Vec<Constraint>,
    pub affinities: Vec<Affinity>,
    pub resources: TaskResources,
    /// Overrides the group's policy.
    pub restart: Option<RestartPolicy>,
    pub services: Vec<Service>,
    pub logs: Logs,
    pub lifecycle: Option<Lifecycle>,
    pub leader: bool,
    /// 5 s when unset.
    pub kill_timeout: Duration,
    /// Empty means the driver's default.
    pub kill_signal: String,
    pub shutdown_delay: Duration,
    pub volume_mounts: Vec<VolumeMount>,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            name: "".into(),
            driver: String::new(),
            user: String::new(),
            config: Value::Map(BTreeMap::new()),
            env: BTreeMap::new(),
            meta: BTreeMap::new(),
            constraints: Vec::new(),
            affinities: Vec::new(),
            resources: TaskResources::default(),
            restart: None,
            services: Vec::new(),
            logs: Logs::default(),
            lifecycle: None,
            leader: false,
            kill_timeout: Duration::from_secs(5),
            kill_signal: String::new(),
            shutdown_delay: Duration::ZERO,
            volume_mounts: Vec::new(),
        }
    }
}

/// The operator of a constraint or affinity, as the job file spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    #[default]
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Regexp,
    Version,
    Semver,
    SetContainsAll,
    SetContainsAny,
    IsSet,
    IsNotSet,
    DistinctHosts,
    DistinctProperty,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Left side, usually `${attr.…}`; empty for `distinct_hosts`.
    pub attribute: String,
    pub operator: Operator,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    pub attribute: String,
    pub operator: Operator,
    pub value: String,
    /// -100..=100, never 0; 50 when unset.
    pub weight: i8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    pub attribute: String,
    /// 1..=100; 50 when unset.
    pub weight: i8,
    /// Value and percent; empty means evenly.
    pub targets: Vec<(String, u8)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartMode {
    /// After the attempts the task has failed.
    #[default]
    Fail,
    /// After the attempts, wait for the interval to end and go on.
    Delay,
}

/// Restarts on the same node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    pub attempts: u32,
    pub interval: Duration,
    pub delay: Duration,
    pub mode: RestartMode,
}

impl RestartPolicy {
    /// The default of a job type.
    #[must_use]
    pub const fn of(kind: JobKind) -> Self {
        match kind {
            JobKind::Service | JobKind::System => Self {
                attempts: 2,
                interval: Duration::from_secs(30 * 60),
                delay: Duration::from_secs(15),
                mode: RestartMode::Fail,
            },
            JobKind::Batch | JobKind::Sysbatch => Self {
                attempts: 3,
                interval: Duration::from_secs(24 * 3600),
                delay: Duration::from_secs(15),
                mode: RestartMode::Fail,
            },
        }
    }
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self::of(JobKind::Service)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DelayFunction {
    Constant,
    #[default]
    Exponential,
    Fibonacci,
}

/// Replacement on another node after the task failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReschedulePolicy {
    pub attempts: u32,
    pub interval: Duration,
    pub delay: Duration,
    pub delay_function: DelayFunction,
    pub max_delay: Duration,
    pub unlimited: bool,
}

impl ReschedulePolicy {
    /// The default of a job type; system jobs are never rescheduled.
    #[must_use]
    pub const fn of(kind: JobKind) -> Self {
        match kind {
            JobKind::Service => Self {
                attempts: 0,
                interval: Duration::ZERO,
                delay: Duration::from_secs(30),
                delay_function: DelayFunction::Exponential,
                max_delay: Duration::from_secs(3600),
                unlimited: true,
            },
            JobKind::Batch => Self {
                attempts: 1,
                interval: Duration::from_secs(24 * 3600),
                delay: Duration::from_secs(5),
                delay_function: DelayFunction::Constant,
                max_delay: Duration::ZERO,
                unlimited: false,
            },
            JobKind::System | JobKind::Sysbatch => Self {
                attempts: 0,
                interval: Duration::ZERO,
                delay: Duration::ZERO,
                delay_function: DelayFunction::Constant,
                max_delay: Duration::ZERO,
                unlimited: false,
            },
        }
    }

    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.unlimited || self.attempts > 0
    }
}

impl Default for ReschedulePolicy {
    fn default() -> Self {
        Self::of(JobKind::Service)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthSource {
    #[default]
    Checks,
    TaskStates,
    Manual,
}

/// Rolling and canary updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// 0 switches deployments off: everything is replaced at once.
    pub max_parallel: u32,
    pub health_check: HealthSource,
    pub min_healthy_time: Duration,
    pub healthy_deadline: Duration,
    /// Zero: the deployment has no deadline.
    pub progress_deadline: Duration,
    pub auto_revert: bool,
    pub auto_promote: bool,
    pub canary: u32,
    pub stagger: Duration,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            max_parallel: 1,
            health_check: HealthSource::Checks,
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(5 * 60),
            progress_deadline: Duration::from_secs(10 * 60),
            auto_revert: false,
            auto_promote: false,
            canary: 0,
            stagger: Duration::from_secs(30),
        }
    }
}

/// How many allocations of a group leave a draining node at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrate {
    pub max_parallel: u32,
    pub health_check: HealthSource,
    pub min_healthy_time: Duration,
    pub healthy_deadline: Duration,
}

impl Default for Migrate {
    fn default() -> Self {
        Self {
            max_parallel: 1,
            health_check: HealthSource::Checks,
            min_healthy_time: Duration::from_secs(10),
            healthy_deadline: Duration::from_secs(5 * 60),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EphemeralDisk {
    pub size_mb: u64,
    pub sticky: bool,
    pub migrate: bool,
}

impl Default for EphemeralDisk {
    fn default() -> Self {
        Self { size_mb: 300, sticky: false, migrate: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    pub max_files: u32,
    pub max_file_size_mb: u32,
    pub disabled: bool,
}

impl Default for Logs {
    fn default() -> Self {
        Self { max_files: 10, max_file_size_mb: 10, disabled: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    Prestart,
    Poststart,
    Poststop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    pub hook: Hook,
    pub sidecar: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaling {
    pub min: u32,
    pub max: Option<u32>,
    pub enabled: bool,
}

/// A group's `volume` block. Only `host` volumes can be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRequest {
    pub kind: String,
    pub source: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    pub volume: String,
    pub destination: String,
    pub read_only: bool,
}

/// What happens while a node cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    pub lost_after: Option<Duration>,
    pub stop_on_client_after: Option<Duration>,
    pub replace: bool,
    pub reconcile: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periodic {
    pub crons: Vec<String>,
    pub time_zone: String,
    pub prohibit_overlap: bool,
    pub enabled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameterized {
    /// `optional`, `required` or `forbidden`.
    pub payload: String,
    pub meta_required: Vec<String>,
    pub meta_optional: Vec<String>,
}
