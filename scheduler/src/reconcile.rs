//! Reconciling: what a job wants against what there is, group by group, as a list of wishes for the placer.
//!
//! Owns the rules; knows nothing of nodes' room. Every function here is pure.
//!
//! ```text
//!  allocations ─► class.rs: fate of each ─► group.rs: slot by slot ─► Outcome { stops, updates, placements }
//!                                            ├─ reschedule.rs  when a failed one is tried again
//!                                            ├─ update.rs      in place or by replacement
//!                                            └─ rollout.rs     deployments: begin, limit, end
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    Alloc, ClientStatus, Deployment, Desired, Eval, Group, Job, NodeId, State, Timestamp, Trigger,
    alloc::RescheduleEvent,
    id::{AllocId, DeploymentId, EvalId, GroupName},
    plan::{DeploymentChange, GroupChanges, StopAlloc, UpdateAlloc},
};

pub mod class;
pub mod group;
pub mod reschedule;
pub mod rollout;
pub mod system;
pub mod update;

use crate::evaluate::dice::Dice;

/// What an operator reads beside a stopped allocation.
pub mod words {
    pub const NOT_NEEDED: &str = "alloc not needed due to job update";
    pub const JOB_STOPPED: &str = "alloc not needed as job is stopped";
    pub const UPDATING: &str = "alloc is being updated due to job update";
    pub const MIGRATING: &str = "alloc is being migrated";
    pub const RESCHEDULED: &str = "alloc was rescheduled because it failed";
    pub const LOST: &str = "alloc is lost since its node is down";
    pub const NODE_UNFIT: &str = "alloc not needed as node is tainted";
    pub const CANARY_OVER: &str = "canary is not needed any more";
    pub const DUPLICATE: &str = "another alloc has taken this place";
    pub const DEPLOYMENT_FAILED: &str = "deployment failed before this alloc became healthy";
}

/// Failed allocations that wait for about the same moment share one follow-up evaluation.
const FOLLOWUP_WINDOW_SECS: u64 = 5;

/// Where a placement may find its room.
#[derive(Clone, Debug)]
pub enum Room {
    /// Only free room.
    Free,
    /// Free room beside this running allocation, which stays until the new one is healthy; when there is none, its place.
    Beside(Arc<Alloc>),
    /// The place of this allocation, which is stopped in the same plan.
    Takes(Arc<Alloc>),
}

/// Why something is placed; decides how it is counted and what happens when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    New,
    Canary,
    Update,
    Migrate,
    Reschedule,
    Lost,
}

/// One allocation to be placed.
#[derive(Clone, Debug)]
pub struct Placement {
    pub job: Arc<Job>,
    pub group: GroupName,
    pub slot: u32,
    pub cause: Cause,
    pub room: Room,
    /// The allocation it follows, for the links of the chain.
    pub previous: Option<Arc<Alloc>>,
    pub reschedules: Vec<RescheduleEvent>,
    pub avoid: BTreeSet<NodeId>,
    pub deployment: Option<DeploymentId>,
    /// A system job's node.
    pub node: Option<NodeId>,
    /// When no room is found at all: stop the running allocation nevertheless (an operator asked for it).
    pub stop_anyway: bool,
}

/// Everything one evaluation wants.
#[derive(Debug, Default)]
pub struct Outcome {
    pub stops: Vec<StopAlloc>,
    pub updates: Vec<UpdateAlloc>,
    pub places: Vec<Placement>,
    pub deployment: Option<Deployment>,
    pub deployment_changes: Vec<DeploymentChange>,
    pub followups: Vec<Eval>,
    pub changes: BTreeMap<GroupName, GroupChanges>,
}

/// What reconciling looks at.
pub struct Scene<'a> {
    pub state: &'a State,
    pub job: &'a Arc<Job>,
    pub eval: &'a Eval,
    pub now: Timestamp,
    /// The deployment of this very job version, whatever became of it.
    pub deployment: Option<Arc<Deployment>>,
}

impl Outcome {
    pub(crate) fn changes(&mut self, group: &GroupName) -> &mut GroupChanges {
        self.changes.entry(group.clone()).or_default()
    }

    pub(crate) fn stop(&mut self, alloc: &Alloc, description: &str, client: Option<ClientStatus>) {
        if self.stops.iter().any(|s| s.id == alloc.id) {
            return;
        }
        self.stops.push(StopAlloc {
            id: alloc.id,
            desired: Desired::Stop,
            description: description.to_owned(),
            client,
            followup_eval: None,
        });
    }

    /// The follow-up evaluation for a moment, shared within a window.
    pub(crate) fn followup(&mut self, scene: &Scene<'_>, at: Timestamp, dice: &mut Dice) -> EvalId {
        let window = std::time::Duration::from_secs(FOLLOWUP_WINDOW_SECS);
        let near = |e: &&Eval| e.wait_until <= at + window && at <= e.wait_until + window;
        if let Some(e) = self.followups.iter_mut().find(|e| near(&&**e)) {
            // The later of the two: nothing is tried before its own delay has passed.
            e.wait_until = e.wait_until.max(at);
            return e.id;
        }
        let job = scene.job;
        let id = dice.eval();
        let mut eval = Eval::pending(id, job.key(), job.kind, scene.eval.priority, Trigger::AllocReschedule, scene.now);
        eval.wait_until = at;
        eval.previous = Some(scene.eval.id);
        eval.status_description = "waits for the reschedule delay of a failed allocation".into();
        self.followups.push(eval);
        id
    }
}

/// Compare a job with its allocations. `suits` answers whether an allocation's node may keep it under the new version.
pub fn reconcile(scene: &Scene<'_>, dice: &mut Dice, suits: &mut dyn FnMut(&Group, NodeId) -> bool) -> Outcome {
    let mut out = Outcome::default();
    if scene.job.stop || scene.job.is_template() {
        let allocs = scene.state.allocs_of_job(&scene.job.key());
        stop_all(scene.state, allocs, words::JOB_STOPPED, &mut out);
        rollout::cancel(scene, &mut out);
        return out;
    }
    rollout::cancel(scene, &mut out);
    // Groups that the new version does not have.
    let orphans = scene.state.allocs_of_job(&scene.job.key()).filter(|a| scene.job.group(&a.group).is_none());
    stop_all(scene.state, orphans, words::NOT_NEEDED, &mut out);
    if scene.job.kind.per_node() {
        return out;
    }
    let mut rollout = rollout::Rollout::of(scene, dice);
    for group in &scene.job.groups {
        group::reconcile(scene, group, &mut rollout, dice, suits, &mut out);
    }
    rollout.finish(scene, &mut out);
    out
}

/// Stop what still runs or waits; on dead nodes the servers speak for the client.
pub fn stop_all<'a>(state: &State, allocs: impl Iterator<Item = &'a Arc<Alloc>>, why: &str, out: &mut Outcome) {
    for alloc in allocs.filter(|a| !a.server_terminal() && !a.ran_successfully()) {
        let lost = class::on_lost_node(state, alloc) && !alloc.client.terminal();
        out.stop(alloc, if lost { words::LOST } else { why }, lost.then_some(ClientStatus::Lost));
        out.changes(&alloc.group).stop += 1;
    }
}

/// Ids of everything that `out` stops.
#[must_use]
pub fn stopped(out: &Outcome) -> BTreeSet<AllocId> {
    out.stops.iter().map(|s| s.id).collect()
}
