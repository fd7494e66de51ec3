//! A plan: what one evaluation wants changed. Data, so that `job plan`, the applier and tests read the same thing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    alloc::{Alloc, ClientStatus, Desired},
    deployment::{Deployment, DeploymentStatus},
    eval::Eval,
    id::{AllocId, DeploymentId, EvalId, GroupName, Index},
    time::Timestamp,
};

/// An allocation that is to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopAlloc {
    pub id: AllocId,
    pub desired: Desired,
    pub description: String,
    /// Set when the servers decide it for a client that cannot (`Lost` on a dead node).
    pub client: Option<ClientStatus>,
    pub followup_eval: Option<EvalId>,
}

/// An existing allocation moved to a new job version without touching its tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateAlloc {
    pub id: AllocId,
    pub job_version: u64,
    pub deployment: Option<DeploymentId>,
    pub canary: bool,
    /// The eval that will replace it later, when it waits for its reschedule delay.
    pub followup_eval: Option<EvalId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentChange {
    pub id: DeploymentId,
    pub status: DeploymentStatus,
    pub description: String,
}

/// Counts per group, as `job plan` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChanges {
    pub ignore: u32,
    pub place: u32,
    pub migrate: u32,
    pub stop: u32,
    pub in_place: u32,
    pub destructive: u32,
    pub canary: u32,
    pub preemptions: u32,
    pub reschedule_now: u32,
    pub reschedule_later: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub eval: EvalId,
    pub priority: u8,
    pub snapshot_index: Index,
    pub all_at_once: bool,
    pub stops: Vec<StopAlloc>,
    pub places: Vec<Alloc>,
    pub updates: Vec<UpdateAlloc>,
    pub deployment: Option<Deployment>,
    pub deployment_changes: Vec<DeploymentChange>,
    pub changes: BTreeMap<GroupName, GroupChanges>,
}

impl Plan {
    #[must_use]
    pub fn empty(eval: EvalId, priority: u8, snapshot_index: Index) -> Self {
        Self {
            eval,
            priority,
            snapshot_index,
            all_at_once: false,
            stops: Vec::new(),
            places: Vec::new(),
            updates: Vec::new(),
            deployment: None,
            deployment_changes: Vec::new(),
            changes: BTreeMap::new(),
        }
    }

    /// Nothing would change.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        self.stops.is_empty()
            && self.places.is_empty()
            && self.updates.is_empty()
            && self.deployment.is_none()
            && self.deployment_changes.is_empty()
    }
}

/// A plan that passed the applier's fit check (trimmed where it did not), with the evaluations it creates or ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanResult {
    pub plan: Plan,
    /// The worked evaluation in its final form, blocked and follow-up evaluations.
    pub evals: Vec<Eval>,
    pub at: Timestamp,
    /// Deadline of the leaving handshake for the plan's stops.
    pub leave_by: Timestamp,
}
