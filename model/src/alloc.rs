//! An allocation: one placement of a task group on a node, what is wanted of it and what became of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    check::Verdict,
    id::{AllocId, CheckId, DeploymentId, EvalId, GroupName, Index, LbId, NodeId, TaskName},
    job::{Job, JobKey},
    metric::AllocMetric,
    node::Node,
    resource::GivenResources,
    time::Timestamp,
};

/// What the servers want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Desired {
    #[default]
    Run,
    Stop,
    Evict,
}

impl Desired {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Stop => "stop",
            Self::Evict => "evict",
        }
    }
}

/// What the client reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientStatus {
    #[default]
    Pending,
    Running,
    Complete,
    Failed,
    Lost,
    Unknown,
}

impl ClientStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }

    /// No task of the allocation runs, and none will.
    #[must_use]
    pub const fn terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Lost)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskPhase {
    #[default]
    Pending,
    Running,
    Dead,
}

impl TaskPhase {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// Something that happened to a task; the last ten are kept. `kind` uses Nomad's words:
/// `Received`, `Task Setup`, `Driver`, `Started`, `Terminated`, `Restarting`, `Not Restarting`, `Killing`, `Killed`,
/// `Driver Failure`, `Failed Validation`, `Restart Signaled`, `Signaling`, `Leader Task Dead`, `Main Tasks Dead`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEvent {
    pub at: Timestamp,
    pub kind: String,
    pub message: String,
    /// `exit_code`, `signal`, `restart_reason`, `start_delay`, `fails_task`, …
    pub details: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    pub phase: TaskPhase,
    pub failed: bool,
    pub restarts: u64,
    pub last_restart: Timestamp,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub events: Vec<TaskEvent>,
}

impl TaskState {
    /// Ended, and without failing.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(self.phase, TaskPhase::Dead) && !self.failed
    }
}

/// Verdict of a deployment's health watch over one allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocHealth {
    pub healthy: bool,
    pub at: Timestamp,
    pub modify_index: Index,
}

/// One earlier attempt at running this allocation elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescheduleEvent {
    pub at: Timestamp,
    pub previous_alloc: AllocId,
    pub previous_node: NodeId,
    pub delay: Duration,
}

/// Wishes of operators and of the drainer that the scheduler reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub migrate: bool,
    pub reschedule: bool,
    pub force_reschedule: bool,
    pub no_shutdown_delay: bool,
}

/// The leaving handshake: the instance is out of discovery and routing, its task not yet signalled.
///
/// Set by the commit that stops the allocation. `awaiting` holds the load balancers that were live then; each is
/// removed when it reports that it picks the instance no more and its requests in flight are done, or when it is
/// itself gone. The client signals the task once `awaiting` is empty or `deadline` has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    pub since: Timestamp,
    pub deadline: Timestamp,
    pub awaiting: BTreeSet<LbId>,
}

/// The state of one check of one of the allocation's services, as its client last reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckState {
    pub verdict: Verdict,
    pub output: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alloc {
    pub id: AllocId,
    /// `job.group[index]`.
    pub name: String,
    /// The index inside `name`.
    pub slot: u32,
    pub eval: EvalId,
    pub node: NodeId,
    pub node_name: String,
    pub job: JobKey,
    /// The specification is `State::job_version(&alloc.job, alloc.job_version)`; kept while the allocation is.
    pub job_version: u64,
    pub group: GroupName,
    pub resources: GivenResources,
    pub metric: Arc<AllocMetric>,

    pub desired: Desired,
    pub desired_description: String,
    pub transition: Transition,
    pub leaving: Option<Leaving>,

    pub client: ClientStatus,
    pub client_description: String,
    pub tasks: BTreeMap<TaskName, TaskState>,
    /// By check id (see [`crate::state::derive`]); what the client reported last.
    pub checks: BTreeMap<CheckId, CheckState>,

    pub deployment: Option<DeploymentId>,
    pub canary: bool,
    pub health: Option<AllocHealth>,

    pub previous: Option<AllocId>,
    pub next: Option<AllocId>,
    pub reschedules: Vec<RescheduleEvent>,
    pub followup_eval: Option<EvalId>,

    pub create_index: Index,
    pub modify_index: Index,
    /// Rises when the servers change the allocation, not when the client reports.
    pub alloc_modify_index: Index,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

impl Alloc {
    /// A placement as it begins: wanted, waiting for its client, nothing given and nothing reported yet.
    #[must_use]
    pub fn placed(id: AllocId, eval: EvalId, node: &Node, job: &Job, group: &GroupName, slot: u32) -> Self {
        Self {
            id,
            name: format!("{}.{group}[{slot}]", job.id),
            slot,
            eval,
            node: node.id,
            node_name: node.name.clone(),
            job: job.key(),
            job_version: job.version,
            group: group.clone(),
            resources: GivenResources::default(),
            metric: Arc::default(),
            desired: Desired::Run,
            desired_description: String::new(),
            transition: Transition::default(),
            leaving: None,
            client: ClientStatus::Pending,
            client_description: String::new(),
            tasks: BTreeMap::new(),
            checks: BTreeMap::new(),
            deployment: None,
            canary: false,
            health: None,
            previous: None,
            next: None,
            reschedules: Vec::new(),
            followup_eval: None,
            create_index: Index(0),
            modify_index: Index(0),
            alloc_modify_index: Index(0),
            created_at: Timestamp::ZERO,
            modified_at: Timestamp::ZERO,
        }
    }

    /// The servers want it gone.
    #[must_use]
    pub const fn server_terminal(&self) -> bool {
        !matches!(self.desired, Desired::Run)
    }

    /// Gone or meant to be: it takes no part in counting instances.
    #[must_use]
    pub const fn terminal(&self) -> bool {
        self.server_terminal() || self.client.terminal()
    }

    /// Its resources and ports are taken. A stopped allocation keeps them until its client says it is over.
    #[must_use]
    pub const fn holds_resources(&self) -> bool {
        !self.client.terminal()
    }

    #[must_use]
    pub fn healthy(&self) -> bool {
        self.health.is_some_and(|h| h.healthy)
    }

    #[must_use]
    pub fn unhealthy(&self) -> bool {
        self.health.is_some_and(|h| !h.healthy)
    }

    /// A batch allocation that did its work.
    #[must_use]
    pub fn ran_successfully(&self) -> bool {
        self.client == ClientStatus::Complete && self.tasks.values().all(|t| !t.failed)
    }
}

/// What a client reports of one allocation. Fields replace the stored ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllocReport {
    pub id: AllocId,
    pub client: ClientStatus,
    pub client_description: String,
    pub tasks: BTreeMap<TaskName, TaskState>,
    pub checks: BTreeMap<CheckId, CheckState>,
    /// `Some` once the deployment health of the allocation is decided on the client.
    pub healthy: Option<bool>,
}
