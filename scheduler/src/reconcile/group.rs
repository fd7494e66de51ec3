//! One group of a service or batch job, slot by slot.
//!
//! A slot is an index of `job.group[index]`. It has at most one keeper: an allocation of the current version. While an
//! update or a migration is under way it also has an incumbent, which runs on until the keeper is ready
//! (docs/adr/002-make-before-break.md).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{Alloc, ClientStatus, Group, Job, JobKind, NodeId, Timestamp, plan::UpdateAlloc};

use super::{
    Cause, Outcome, Placement, Room, Scene,
    class::{self, Fate, Item, Version},
    reschedule,
    rollout::{self, Rollout},
    words,
};
use crate::evaluate::dice::Dice;

/// Everything in hand while one group is worked on.
struct Work<'a, 's> {
    scene: &'a Scene<'s>,
    group: &'a Group,
    rollout: &'a mut Rollout,
    dice: &'a mut Dice,
    out: &'a mut Outcome,
    slots: BTreeMap<u32, Vec<Item>>,
    canaries: Vec<Item>,
    /// Incumbents that a new allocation may replace now.
    candidates: Vec<Item>,
    /// Replacements of this roll-out that are not healthy yet.
    in_flight: u32,
    /// One of them is unhealthy: nothing more is replaced.
    halted: bool,
    canarying: bool,
}

/// Bring one group nearer to what the job wants.
pub fn reconcile(
    scene: &Scene<'_>,
    group: &Group,
    rollout: &mut Rollout,
    dice: &mut Dice,
    suits: &mut dyn FnMut(&Group, NodeId) -> bool,
    out: &mut Outcome,
) {
    out.changes(&group.name);
    let mut work = Work {
        scene,
        group,
        rollout,
        dice,
        out,
        slots: BTreeMap::new(),
        canaries: Vec::new(),
        candidates: Vec::new(),
        in_flight: 0,
        halted: false,
        canarying: false,
    };
    work.collect(suits);
    work.begin_rollout();
    let mut slots = std::mem::take(&mut work.slots);
    for (slot, items) in slots.split_off(&group.count) {
        work.surplus(slot, items);
    }
    for slot in 0..group.count {
        let items = slots.remove(&slot).unwrap_or_default();
        work.slot(slot, items);
    }
    work.replace_candidates();
    work.place_canaries();
    if work.canarying {
        work.rollout.unfinished();
    }
}

/// Healthy, then running, then waiting, then failed: the better one keeps the slot.
fn rank(scene: &Scene<'_>, item: &Item) -> (u8, model::Index, model::AllocId) {
    let n = match item.fate {
        Fate::Done => 0,
        Fate::Live if class::ready(scene.state, &item.alloc) => 1,
        Fate::Live => 2,
        Fate::Waiting(_) => 3,
        _ => 4,
    };
    (n, item.alloc.create_index, item.alloc.id)
}

impl Work<'_, '_> {
    fn collect(&mut self, suits: &mut dyn FnMut(&Group, NodeId) -> bool) {
        let scene = self.scene;
        let mine = scene.state.allocs_of_job(&scene.job.key()).filter(|a| a.group == self.group.name);
        for alloc in mine.filter(|a| !a.server_terminal()) {
            let fate = class::fate(scene, alloc);
            let mut version = class::version(scene, alloc);
            match fate {
                Fate::Gone => continue,
                Fate::Lost => self.out.stop(alloc, words::LOST, Some(ClientStatus::Lost)),
                Fate::Live if version == Version::Carried && !suits(self.group, alloc.node) => version = Version::Old,
                _ => {}
            }
            let item = Item { alloc: Arc::clone(alloc), fate, version };
            if !alloc.canary {
                self.slots.entry(alloc.slot).or_default().push(item);
            } else if alloc.deployment.is_some() && alloc.deployment == self.rollout.id(&self.group.name) {
                self.canaries.push(item);
            } else if fate != Fate::Lost {
                self.out.stop(alloc, words::CANARY_OVER, None);
                self.out.changes(&self.group.name).stop += 1;
            }
        }
    }

    /// Begin or join the deployment of this version.
    fn begin_rollout(&mut self) {
        let Some(update) = rollout::strategy(self.scene, self.group) else { return };
        let count = self.group.count;
        let items = || self.slots.range(..count).flat_map(|(_, i)| i);
        let updating = items().any(|i| i.version != Version::Current);
        let running = items().any(|i| i.version == Version::Current && i.live());
        let old = items().any(|i| i.version == Version::Old && i.fate != Fate::Lost);
        let canaries = if old { update.canary } else { 0 };
        if count > 0 && (updating || !running) {
            self.rollout.begin(self.scene, self.group, update, canaries);
        }
        self.canarying = self.rollout.group(&self.group.name).is_some_and(|g| g.awaits_promotion());
    }

    /// New allocations of the current version may be started.
    fn open(&self) -> bool {
        !self.rollout.paused() && !self.rollout.failed() && !self.canarying
    }

    fn stop(&mut self, item: &Item, why: &str) {
        self.out.stop(&item.alloc, why, None);
        self.out.changes(&self.group.name).stop += 1;
    }

    /// Above the count: everything goes.
    fn surplus(&mut self, _slot: u32, items: Vec<Item>) {
        for item in items.iter().filter(|i| i.fate != Fate::Lost && i.fate != Fate::Done) {
            self.stop(item, words::NOT_NEEDED);
        }
    }

    fn slot(&mut self, slot: u32, mut items: Vec<Item>) {
        items.sort_by_key(|i| rank(self.scene, i));
        let keeps = |i: &Item| i.fresh() && matches!(i.fate, Fate::Live | Fate::Done | Fate::Waiting(_) | Fate::Dead);
        match items.iter().position(keeps) {
            Some(at) => {
                let keeper = items.remove(at);
                self.kept(&keeper, &items);
            }
            None => self.vacant(slot, &items),
        }
    }

    /// A slot that has its allocation of the current version; `others` are incumbents, or too many.
    fn kept(&mut self, keeper: &Item, others: &[Item]) {
        match keeper.fate {
            Fate::Waiting(at) => self.wait(keeper, at),
            Fate::Live => self.kept_live(keeper, others),
            _ => {}
        }
        if keeper.fate == Fate::Done {
            let rest = others.iter().filter(|o| matches!(o.fate, Fate::Live | Fate::Migrating));
            rest.for_each(|o| self.stop(o, words::DUPLICATE));
        } else if keeper.fate != Fate::Live {
            self.rollout.unfinished();
            self.halted |= self.judged(&keeper.alloc);
            let scene = self.scene;
            let forced = others.iter().filter(|o| o.fate == Fate::Migrating && must_leave(scene, &o.alloc));
            forced.for_each(|o| self.stop(o, words::MIGRATING));
        }
    }

    /// The allocation belongs to the deployment under way.
    fn judged(&self, alloc: &Alloc) -> bool {
        alloc.deployment.is_some() && alloc.deployment == self.rollout.id(&self.group.name)
    }

    fn kept_live(&mut self, keeper: &Item, others: &[Item]) {
        let scene = self.scene;
        let ready = class::ready(scene.state, &keeper.alloc);
        let mut overlap = false;
        for other in others.iter().filter(|o| o.fate != Fate::Lost) {
            let incumbent = matches!(other.fate, Fate::Migrating) || (other.live() && !other.fresh());
            if !incumbent {
                self.stop(other, if other.live() { words::DUPLICATE } else { words::RESCHEDULED });
                continue;
            }
            let why = if other.fate == Fate::Migrating { words::MIGRATING } else { words::UPDATING };
            let hopeless = other.fate == Fate::Migrating && keeper.alloc.unhealthy();
            let forced = class::drain_forced(scene.state, &other.alloc, scene.now)
                || (hopeless && must_leave(scene, &other.alloc));
            if ready || forced || !class::serving(scene.state, &other.alloc) {
                self.stop(other, why);
            } else {
                overlap = true;
            }
        }
        if overlap && self.rollout.failed_id().is_some_and(|d| keeper.alloc.deployment == Some(d)) {
            // The incumbent still serves; its replacement never came to.
            self.stop(keeper, words::DEPLOYMENT_FAILED);
            return;
        }
        self.carry(keeper);
        let judged = self.judged(&keeper.alloc);
        if (judged && !keeper.alloc.healthy()) || (!judged && overlap) {
            self.in_flight += 1;
            self.halted |= judged && keeper.alloc.unhealthy();
        }
        if overlap || !ready || keeper.version != Version::Current || (judged && !keeper.alloc.healthy()) {
            self.rollout.unfinished();
        }
    }

    /// Move a kept allocation to the current version, where it is not there yet.
    fn carry(&mut self, keeper: &Item) {
        if keeper.version == Version::Current {
            self.out.changes(&self.group.name).ignore += 1;
            return;
        }
        self.out.updates.push(UpdateAlloc {
            id: keeper.alloc.id,
            job_version: self.scene.job.version,
            deployment: self.rollout.id(&self.group.name),
            canary: false,
            followup_eval: None,
        });
        self.out.changes(&self.group.name).in_place += 1;
    }

    /// A failed allocation whose delay has not passed: make sure that somebody comes back for it.
    fn wait(&mut self, item: &Item, at: Timestamp) {
        self.out.changes(&self.group.name).reschedule_later += 1;
        let alloc = &item.alloc;
        let pending = alloc.followup_eval.and_then(|id| self.scene.state.evals.get(&id));
        if pending.is_some_and(|e| !e.status.terminal() && e.id != self.scene.eval.id) {
            return;
        }
        let followup = self.out.followup(self.scene, at, self.dice);
        self.out.updates.push(UpdateAlloc {
            id: alloc.id,
            job_version: alloc.job_version,
            deployment: alloc.deployment,
            canary: alloc.canary,
            followup_eval: Some(followup),
        });
    }

    /// A slot without an allocation of the current version.
    fn vacant(&mut self, slot: u32, items: &[Item]) {
        self.rollout.unfinished();
        let first = |f: &dyn Fn(&Item) -> bool| items.iter().find(|i| f(i)).cloned();
        let open = self.open();
        let again =
            first(&|i| i.fate == Fate::Retry && i.fresh()).or_else(|| first(&|i| i.fate == Fate::Lost && i.fresh()));
        if let Some(old) = first(&|i| i.live() && !i.fresh()) {
            let spare: Vec<_> = items.iter().filter(|i| i.alloc.id != old.alloc.id).cloned().collect();
            for extra in spare.iter().filter(|i| matches!(i.fate, Fate::Live | Fate::Migrating)) {
                self.stop(extra, words::DUPLICATE);
            }
            match again {
                // The replacement failed or was lost before it could take over: try again, beside the same incumbent.
                Some(again) if open => self.repeat(slot, &again, Some(&old)),
                _ if open => self.candidates.push(old),
                _ => self.out.changes(&self.group.name).ignore += 1,
            }
        } else if let Some(moving) = first(&|i| i.fate == Fate::Migrating) {
            let id = moving.alloc.id;
            let extra: Vec<_> =
                items.iter().filter(|i| i.fate == Fate::Migrating && i.alloc.id != id).cloned().collect();
            extra.iter().for_each(|e| self.stop(e, words::DUPLICATE));
            match again {
                Some(again) => self.repeat(slot, &again, Some(&moving)),
                None => self.migrate(slot, &moving),
            }
        } else if let Some(again) = again {
            self.repeat(slot, &again, None);
        } else if let Some(old) = first(&|i| !i.fresh() && i.fate != Fate::Lost) {
            self.vacant_after_old(slot, old, open);
        } else if let Some(lost) = first(&|i| i.fate == Fate::Lost) {
            self.repeat(slot, &lost, None);
        } else if open {
            let placement = self.placement(slot, Cause::New, Room::Free, None, self.scene.job);
            self.push(placement);
        }
    }

    /// The slot's older allocation failed.
    fn vacant_after_old(&mut self, slot: u32, old: Item, open: bool) {
        match old.fate {
            _ if open => self.candidates.push(old),
            // The roll-out stands still: keep what was there going.
            Fate::Retry => self.repeat(slot, &old, None),
            Fate::Waiting(at) => self.wait(&old, at),
            _ => {}
        }
    }

    /// Replace one that failed or was lost.
    fn repeat(&mut self, slot: u32, item: &Item, incumbent: Option<&Item>) {
        let cause = if item.fate == Fate::Lost { Cause::Lost } else { Cause::Reschedule };
        let job = self.version_for(item);
        let room = match incumbent {
            Some(i) if self.keeps_serving(&i.alloc) => Room::Beside(Arc::clone(&i.alloc)),
            Some(i) => Room::Takes(Arc::clone(&i.alloc)),
            None => Room::Free,
        };
        let mut placement = self.placement(slot, cause, room, Some(&item.alloc), &job);
        let policy = job.group(&self.group.name).map(|g| g.reschedule.clone()).unwrap_or_default();
        placement.reschedules = if item.fate == Fate::Lost {
            item.alloc.reschedules.clone()
        } else {
            reschedule::history(&policy, &item.alloc, self.scene.now)
        };
        placement.avoid = placement.reschedules.iter().map(|e| e.previous_node).chain([item.alloc.node]).collect();
        self.push(placement);
    }

    fn migrate(&mut self, slot: u32, item: &Item) {
        let scene = self.scene;
        let job = self.version_for(item);
        let forced = class::drain_forced(scene.state, &item.alloc, scene.now);
        let room = if self.keeps_serving(&item.alloc) && !forced {
            Room::Beside(Arc::clone(&item.alloc))
        } else {
            Room::Takes(Arc::clone(&item.alloc))
        };
        let mut placement = self.placement(slot, Cause::Migrate, room, Some(&item.alloc), &job);
        placement.stop_anyway = forced || must_leave(scene, &item.alloc);
        placement.avoid = BTreeSet::from([item.alloc.node]);
        self.push(placement);
    }

    /// The version a replacement gets: the current one, unless its roll-out stands still.
    fn version_for(&self, item: &Item) -> Arc<Job> {
        if item.fresh() || self.open() {
            return Arc::clone(self.scene.job);
        }
        let own = self.scene.state.job_of(&item.alloc).filter(|j| j.group(&self.group.name).is_some());
        Arc::clone(own.unwrap_or(self.scene.job))
    }

    /// A running allocation whose requests must not be dropped: it stays until its replacement is ready.
    fn keeps_serving(&self, alloc: &Alloc) -> bool {
        self.scene.job.kind == JobKind::Service
            && self.group.all_services().next().is_some()
            && class::serving(self.scene.state, alloc)
    }

    fn placement(
        &self,
        slot: u32,
        cause: Cause,
        room: Room,
        previous: Option<&Arc<Alloc>>,
        job: &Arc<Job>,
    ) -> Placement {
        let current = job.version == self.scene.job.version;
        Placement {
            job: Arc::clone(job),
            group: self.group.name.clone(),
            slot,
            cause,
            room,
            previous: previous.cloned(),
            reschedules: Vec::new(),
            avoid: BTreeSet::new(),
            deployment: if current { self.rollout.id(&self.group.name) } else { None },
            node: None,
            stop_anyway: false,
        }
    }

    fn push(&mut self, placement: Placement) {
        let changes = self.out.changes(&self.group.name);
        match placement.cause {
            Cause::Update => changes.destructive += 1,
            Cause::Migrate => changes.migrate += 1,
            Cause::Canary => changes.canary += 1,
            Cause::Reschedule => {
                changes.reschedule_now += 1;
                changes.place += 1;
            }
            Cause::New | Cause::Lost => changes.place += 1,
        }
        self.rollout.unfinished();
        self.out.places.push(placement);
    }

    /// Replace incumbents, at most as many at a time as the strategy allows; those that do not work go first.
    fn replace_candidates(&mut self) {
        let mut candidates = std::mem::take(&mut self.candidates);
        let state = self.scene.state;
        candidates.sort_by_key(|c| (class::serving(state, &c.alloc), c.alloc.slot));
        let limit = match rollout::strategy(self.scene, self.group) {
            None => usize::MAX,
            Some(_) if self.halted => 0,
            Some(u) => u.max_parallel.saturating_sub(self.in_flight) as usize,
        };
        for (n, old) in candidates.iter().enumerate() {
            if n >= limit {
                self.out.changes(&self.group.name).ignore += 1;
                self.rollout.unfinished();
                continue;
            }
            let alloc = Arc::clone(&old.alloc);
            let room = if self.keeps_serving(&alloc) { Room::Beside(alloc) } else { Room::Takes(alloc) };
            let job = Arc::clone(self.scene.job);
            let placement = self.placement(old.alloc.slot, Cause::Update, room, Some(&old.alloc), &job);
            self.push(placement);
        }
    }

    /// Keep the number of canaries right while they wait to be promoted.
    fn place_canaries(&mut self) {
        let canaries = std::mem::take(&mut self.canaries);
        let mut taken: BTreeSet<u32> = canaries.iter().map(|c| c.alloc.slot).collect();
        for item in &canaries {
            match item.fate {
                Fate::Waiting(at) => self.wait(item, at),
                Fate::Retry | Fate::Lost => self.canary_again(item),
                Fate::Migrating => {
                    self.stop(item, words::MIGRATING);
                    self.canary_again(item);
                }
                _ => self.out.changes(&self.group.name).ignore += 1,
            }
        }
        let Some(wanted) = self.rollout.group(&self.group.name).map(|g| g.desired_canaries) else { return };
        if !self.canarying || self.rollout.paused() || self.rollout.failed() {
            return;
        }
        // A canary takes the name of an allocation it may replace later; more canaries than that get new names.
        for _ in canaries.len()..wanted as usize {
            let Some(slot) = (0..).find(|s| !taken.contains(s)) else { return };
            taken.insert(slot);
            let placement = self.placement(slot, Cause::Canary, Room::Free, None, self.scene.job);
            self.push(placement);
        }
    }

    fn canary_again(&mut self, item: &Item) {
        if !self.canarying || self.rollout.paused() {
            return;
        }
        let mut placement =
            self.placement(item.alloc.slot, Cause::Canary, Room::Free, Some(&item.alloc), self.scene.job);
        if item.fate == Fate::Retry {
            placement.reschedules = reschedule::history(&self.group.reschedule, &item.alloc, self.scene.now);
        }
        placement.avoid = BTreeSet::from([item.alloc.node]);
        self.push(placement);
    }
}

/// An operator stopped it, or its drain has no more time: it goes even if nothing can replace it.
fn must_leave(scene: &Scene<'_>, alloc: &Alloc) -> bool {
    let draining = scene.state.nodes.get(&alloc.node).is_some_and(|n| n.drain.is_some());
    !draining || class::drain_forced(scene.state, alloc, scene.now)
}
