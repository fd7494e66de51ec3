//! System and sysbatch jobs: one allocation of every group on every node that suits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{Alloc, ClientStatus, Eval, Group, JobKind, Node, NodeId, Timestamp, Trigger, plan::UpdateAlloc};

use super::{Cause, Outcome, Placement, Room, Scene, class, class::Version, reschedule, words};
use crate::evaluate::dice::Dice;

/// First delay after which a failed system allocation is started again on its node; doubled up to [`RETRY_MAX`].
/// The restart policy has already been used up by then, so trying at once would only spin.
const RETRY_FIRST: Duration = Duration::from_secs(15);
const RETRY_MAX: Duration = Duration::from_secs(600);

struct Work<'a, 's> {
    scene: &'a Scene<'s>,
    dice: &'a mut Dice,
    out: &'a mut Outcome,
    /// Destructive updates this evaluation may still begin, and whether some had to wait.
    budget: u32,
    held_back: bool,
}

/// Compare every node with the job. `open`: nodes in reach that take new work. `suits`: constraints and drivers.
pub fn reconcile(
    scene: &Scene<'_>,
    open: &[&Node],
    dice: &mut Dice,
    suits: &mut dyn FnMut(&Group, NodeId) -> bool,
    out: &mut Outcome,
) {
    let open: BTreeSet<NodeId> = open.iter().map(|n| n.id).collect();
    for group in &scene.job.groups {
        out.changes(&group.name);
        let update = group.update.as_ref().filter(|u| u.max_parallel > 0 && scene.job.kind == JobKind::System);
        let budget = update.map_or(u32::MAX, |u| u.max_parallel);
        let mut work = Work { scene, dice, out, budget, held_back: false };
        let mut by_node: BTreeMap<NodeId, Vec<&Arc<Alloc>>> = open.iter().map(|id| (*id, Vec::new())).collect();
        for alloc in scene.state.allocs_of_job(&scene.job.key()).filter(|a| a.group == group.name) {
            if !alloc.server_terminal() {
                by_node.entry(alloc.node).or_default().push(alloc);
            }
        }
        for (node, allocs) in by_node {
            work.node(group, node, &allocs, open.contains(&node), suits);
        }
        if let Some(update) = update.filter(|_| work.held_back) {
            work.roll_on(update.stagger);
        }
    }
}

impl Work<'_, '_> {
    fn node(
        &mut self,
        group: &Group,
        node: NodeId,
        allocs: &[&Arc<Alloc>],
        open: bool,
        suits: &mut dyn FnMut(&Group, NodeId) -> bool,
    ) {
        let scene = self.scene;
        let mut kept = false;
        let mut last_failed: Option<&Arc<Alloc>> = None;
        let mut allocs: Vec<_> = allocs.to_vec();
        // The newest first: it is the one that counts.
        allocs.sort_by_key(|a| std::cmp::Reverse((a.create_index, a.id)));
        for alloc in allocs {
            match alloc.client {
                ClientStatus::Complete if scene.job.kind == JobKind::Sysbatch && alloc.ran_successfully() => {
                    kept |= alloc.job_version == scene.job.version;
                }
                ClientStatus::Failed => last_failed = last_failed.or(Some(alloc)),
                ClientStatus::Complete | ClientStatus::Lost => {}
                _ if class::on_lost_node(scene.state, alloc) => {
                    self.out.stop(alloc, words::LOST, Some(ClientStatus::Lost));
                    self.out.changes(&group.name).stop += 1;
                }
                _ if kept => self.stop(group, alloc, words::DUPLICATE),
                _ if class::migrating(scene.state, alloc, scene.now) && !open => {
                    self.stop(group, alloc, words::NODE_UNFIT);
                    kept = true;
                }
                _ => {
                    kept = true;
                    self.running(group, alloc, suits);
                }
            }
        }
        if kept || !open || !suits(group, node) {
            return;
        }
        match last_failed {
            Some(failed) if failed.job_version == scene.job.version => self.failed(group, node, failed),
            Some(failed) => self.place(group, node, Cause::Update, Room::Free, Some(failed)),
            None => self.place(group, node, Cause::New, Room::Free, None),
        }
    }

    fn stop(&mut self, group: &Group, alloc: &Alloc, why: &str) {
        self.out.stop(alloc, why, None);
        self.out.changes(&group.name).stop += 1;
    }

    fn running(&mut self, group: &Group, alloc: &Arc<Alloc>, suits: &mut dyn FnMut(&Group, NodeId) -> bool) {
        let changes = |out: &mut Outcome, f: fn(&mut model::plan::GroupChanges)| f(out.changes(&group.name));
        if !suits(group, alloc.node) {
            self.stop(group, alloc, words::NOT_NEEDED);
            return;
        }
        match class::version(self.scene, alloc) {
            _ if alloc.transition.migrate => {
                // An operator's `alloc stop`: begin anew on the same node.
                self.place(group, alloc.node, Cause::Migrate, Room::Takes(Arc::clone(alloc)), Some(alloc));
            }
            Version::Current => changes(self.out, |c| c.ignore += 1),
            Version::Carried => {
                changes(self.out, |c| c.in_place += 1);
                self.out.updates.push(UpdateAlloc {
                    id: alloc.id,
                    job_version: self.scene.job.version,
                    deployment: None,
                    canary: false,
                    followup_eval: None,
                });
            }
            Version::Old if self.budget == 0 => {
                self.held_back = true;
                changes(self.out, |c| c.ignore += 1);
            }
            Version::Old => {
                self.budget = self.budget.saturating_sub(1);
                self.place(group, alloc.node, Cause::Update, Room::Takes(Arc::clone(alloc)), Some(alloc));
            }
        }
    }

    /// The node's allocation failed for good: begin again after a growing pause. Sysbatch work is not repeated.
    fn failed(&mut self, group: &Group, node: NodeId, failed: &Arc<Alloc>) {
        if self.scene.job.kind == JobKind::Sysbatch && !failed.transition.force_reschedule {
            return;
        }
        let last = failed.reschedules.last().map_or(Duration::ZERO, |e| e.delay);
        let delay = (last * 2).clamp(RETRY_FIRST, RETRY_MAX);
        let at = reschedule::failed_at(failed) + delay;
        let due = at <= self.scene.now || failed.followup_eval == Some(self.scene.eval.id);
        if due || failed.transition.force_reschedule {
            self.place(group, node, Cause::Reschedule, Room::Free, Some(failed));
            if let Some(p) = self.out.places.last_mut() {
                p.reschedules = vec![model::alloc::RescheduleEvent {
                    at: self.scene.now,
                    previous_alloc: failed.id,
                    previous_node: node,
                    delay,
                }];
            }
            return;
        }
        self.out.changes(&group.name).reschedule_later += 1;
        let pending = failed.followup_eval.and_then(|id| self.scene.state.evals.get(&id));
        if pending.is_none_or(|e| e.status.terminal()) {
            self.come_back(failed, at);
        }
    }

    fn come_back(&mut self, failed: &Alloc, at: Timestamp) {
        let followup = self.out.followup(self.scene, at, self.dice);
        self.out.updates.push(UpdateAlloc {
            id: failed.id,
            job_version: failed.job_version,
            deployment: failed.deployment,
            canary: failed.canary,
            followup_eval: Some(followup),
        });
    }

    /// The rest of a rolling update follows after the stagger.
    fn roll_on(&mut self, stagger: Duration) {
        let job = self.scene.job;
        let (priority, now) = (self.scene.eval.priority, self.scene.now);
        let mut eval = Eval::pending(self.dice.eval(), job.key(), job.kind, priority, Trigger::RollingUpdate, now);
        eval.wait_until = now + stagger;
        eval.previous = Some(self.scene.eval.id);
        self.out.followups.push(eval);
    }

    fn place(&mut self, group: &Group, node: NodeId, cause: Cause, room: Room, previous: Option<&Arc<Alloc>>) {
        let changes = self.out.changes(&group.name);
        match cause {
            Cause::Update if matches!(room, Room::Takes(_)) => changes.destructive += 1,
            Cause::Migrate => changes.migrate += 1,
            _ => changes.place += 1,
        }
        self.out.places.push(Placement {
            job: Arc::clone(self.scene.job),
            group: group.name.clone(),
            slot: 0,
            cause,
            room,
            previous: previous.cloned(),
            reschedules: Vec::new(),
            avoid: BTreeSet::new(),
            deployment: None,
            node: Some(node),
            stop_anyway: cause == Cause::Migrate,
        });
    }
}
