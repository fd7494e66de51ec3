//! An evaluation: one request to compare what a job wants with what there is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::{DeploymentId, EvalId, GroupName, Index, NodeId},
    job::{JobKey, JobKind},
    metric::AllocMetric,
    time::Timestamp,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvalStatus {
    #[default]
    Pending,
    /// Waits for capacity.
    Blocked,
    Complete,
    Failed,
    Canceled,
}

impl EvalStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Blocked => "blocked",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    #[must_use]
    pub const fn terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Canceled)
    }
}

/// Why an evaluation exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    JobRegister,
    JobDeregister,
    PeriodicJob,
    NodeDrain,
    NodeUpdate,
    AllocStop,
    Scheduled,
    RollingUpdate,
    DeploymentWatcher,
    FailedFollowUp,
    MaxPlanAttempts,
    AllocFailure,
    QueuedAllocs,
    Preemption,
    JobScaling,
    Reconnect,
    AllocReschedule,
}

impl Trigger {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobRegister => "job-register",
            Self::JobDeregister => "job-deregister",
            Self::PeriodicJob => "periodic-job",
            Self::NodeDrain => "node-drain",
            Self::NodeUpdate => "node-update",
            Self::AllocStop => "alloc-stop",
            Self::Scheduled => "scheduled",
            Self::RollingUpdate => "rolling-update",
            Self::DeploymentWatcher => "deployment-watcher",
            Self::FailedFollowUp => "failed-follow-up",
            Self::MaxPlanAttempts => "max-plan-attempts",
            Self::AllocFailure => "alloc-failure",
            Self::QueuedAllocs => "queued-allocs",
            Self::Preemption => "preemption",
            Self::JobScaling => "job-scaling",
            Self::Reconnect => "reconnect",
            Self::AllocReschedule => "alloc-reschedule",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    /// Also the seed of every choice the scheduler makes for it.
    pub id: EvalId,
    pub job: JobKey,
    pub kind: JobKind,
    pub priority: u8,
    pub trigger: Trigger,
    pub node: Option<NodeId>,
    pub deployment: Option<DeploymentId>,
    pub status: EvalStatus,
    pub status_description: String,
    /// Not before this time; zero = now.
    pub wait_until: Timestamp,
    pub next: Option<EvalId>,
    pub previous: Option<EvalId>,
    pub blocked: Option<EvalId>,
    /// Groups that could not be placed whole, and why.
    pub failed_groups: BTreeMap<GroupName, AllocMetric>,
    /// Allocations still to be placed.
    pub queued: BTreeMap<GroupName, u32>,
    /// The state the evaluation was worked on with.
    pub snapshot_index: Index,
    pub create_index: Index,
    pub modify_index: Index,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

impl Eval {
    /// A pending evaluation of a job.
    #[must_use]
    pub fn pending(id: EvalId, job: JobKey, kind: JobKind, priority: u8, trigger: Trigger, at: Timestamp) -> Self {
        Self {
            id,
            job,
            kind,
            priority,
            trigger,
            node: None,
            deployment: None,
            status: EvalStatus::Pending,
            status_description: String::new(),
            wait_until: Timestamp::ZERO,
            next: None,
            previous: None,
            blocked: None,
            failed_groups: BTreeMap::new(),
            queued: BTreeMap::new(),
            snapshot_index: Index(0),
            create_index: Index(0),
            modify_index: Index(0),
            created_at: at,
            modified_at: at,
        }
    }
}
