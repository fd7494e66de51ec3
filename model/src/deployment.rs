//! A deployment: one roll-out of a job version, group by group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{
    id::{AllocId, DeploymentId, GroupName, Index},
    job::JobKey,
    time::Timestamp,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentStatus {
    #[default]
    Running,
    Paused,
    Successful,
    Failed,
    Cancelled,
}

impl DeploymentStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub const fn active(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// The descriptions an operator sees beside the status.
pub mod description {
    pub const RUNNING: &str = "Deployment is running";
    pub const NEEDS_PROMOTION: &str = "Deployment is running but requires manual promotion";
    pub const AUTO_PROMOTION: &str = "Deployment is running pending automatic promotion";
    pub const PAUSED: &str = "Deployment is paused";
    pub const SUCCESSFUL: &str = "Deployment completed successfully";
    pub const STOPPED_JOB: &str = "Cancelled because job is stopped";
    pub const NEWER_JOB: &str = "Cancelled due to newer version of job";
    pub const FAILED_ALLOCS: &str = "Failed due to unhealthy allocations";
    pub const PROGRESS_DEADLINE: &str = "Failed due to progress deadline";
    pub const FAILED_BY_USER: &str = "Deployment marked as failed";
}

/// One group's part of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRollout {
    pub auto_revert: bool,
    pub auto_promote: bool,
    pub progress_deadline: Duration,
    /// Zero until the first allocation is placed; pushed on by every allocation that becomes healthy.
    pub require_progress_by: Timestamp,
    pub promoted: bool,
    pub placed_canaries: Vec<AllocId>,
    pub desired_canaries: u32,
    pub desired_total: u32,
    pub placed: u32,
    pub healthy: u32,
    pub unhealthy: u32,
}

impl GroupRollout {
    #[must_use]
    pub const fn awaits_promotion(&self) -> bool {
        self.desired_canaries > 0 && !self.promoted
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub job: JobKey,
    pub job_version: u64,
    /// `Job::job_modify_index` of that version.
    pub job_modify_index: Index,
    /// `Job::create_index`: tells a purged and re-registered job apart.
    pub job_create_index: Index,
    pub groups: BTreeMap<GroupName, GroupRollout>,
    pub status: DeploymentStatus,
    pub description: String,
    pub priority: u8,
    pub create_index: Index,
    pub modify_index: Index,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
}

impl Deployment {
    /// Some group waits for its canaries to be promoted.
    #[must_use]
    pub fn awaits_promotion(&self) -> bool {
        self.groups.values().any(GroupRollout::awaits_promotion)
    }

    /// Every group with canaries promotes by itself.
    #[must_use]
    pub fn promotes_itself(&self) -> bool {
        self.groups.values().filter(|g| g.desired_canaries > 0).all(|g| g.auto_promote)
    }
}
