//! One allocation on this node: its tasks in their order, from the first start to the last end.
//!
//! Decisions are [`super::lifecycle`]; this is the loop that asks it and tells the tasks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{ClientStatus, TaskName, Topic, alloc::TaskPhase};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    checks, clock, events, health,
    lifecycle::{self, Why, role},
    shared::Shared,
    task_runner::{self, Control, Kill, TaskRunner},
    view::View,
};

/// Orders from this agent, beside the servers' wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    None,
    /// End every task at once: the agent was a dev agent, or the allocation is not known any more.
    End,
}

/// How the runner's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// All tasks are dead and the servers know it.
    Over,
    /// The agent leaves; tasks go on.
    Detached,
}

pub struct AllocRunner {
    pub shared: Arc<Shared>,
    pub orders: watch::Receiver<Order>,
    pub cancel: CancellationToken,
}

/// Why the whole allocation is being ended.
#[derive(Clone, Debug, PartialEq)]
enum Ending {
    /// The servers' wish; tasks are told once load balancers have let go.
    Stopped,
    Ordered,
    Because(Why),
}

impl AllocRunner {
    pub async fn run(mut self) -> Finished {
        let view = self.shared.view();
        let Some(group) = view.group() else {
            self.shared.report_again();
            return Finished::Over;
        };
        let tasks: Vec<TaskName> = group.tasks.iter().map(|t| t.name.clone()).collect();
        if !self.ready().await {
            return if self.cancel.is_cancelled() { Finished::Detached } else { self.never_started(&tasks).await };
        }
        let side = self.cancel.child_token();
        let mut set = JoinSet::new();
        let controls = self.spawn_tasks(&tasks, &mut set);
        let watchers = [
            tokio::spawn(checks::run(Arc::clone(&self.shared), side.clone())),
            tokio::spawn(health::watch(Arc::clone(&self.shared), side.clone())),
        ];
        let finished = self.follow(&controls).await;
        side.cancel();
        while set.join_next().await.is_some() {}
        for w in watchers {
            if let Err(e) = w.await {
                warn!(alloc = %self.shared.id, error = %e, "a watcher of the allocation died");
            }
        }
        if finished == Finished::Over {
            let ticket = self.shared.report_again();
            tokio::select! {
                () = self.shared.services.reporter.accepted(ticket) => {}
                () = self.cancel.cancelled() => {}
            }
            info!(alloc = %self.shared.id, "allocation is over");
        }
        finished
    }

    /// Nothing of it ever ran, and nothing will.
    async fn never_started(&self, tasks: &[TaskName]) -> Finished {
        let mut ticket = self.shared.report_again();
        for name in tasks {
            let mut state = self.shared.task(name).unwrap_or_default();
            state.phase = TaskPhase::Dead;
            state.finished_at = clock::now();
            ticket = ticket.max(self.shared.set_task(name, state));
        }
        self.shared.services.reporter.accepted(ticket).await;
        Finished::Over
    }

    /// Until the ports it was given are let go by allocations of this node that are leaving, and the one whose place it
    /// takes has ended. `false` when it is stopped or the agent leaves first.
    async fn ready(&mut self) -> bool {
        let mut views = self.shared.views();
        let replica = Arc::clone(&self.shared.services.replica);
        loop {
            let mut bell = replica.waiters().subscribe(&[Topic::NodeAllocs(self.shared.services.node)]);
            let view = Arc::clone(&views.borrow_and_update());
            let begun = view.alloc.client != ClientStatus::Pending;
            if view.alloc.server_terminal() && !begun {
                return self.may_have_begun(&view);
            }
            match self.obstacle(&view).filter(|_| !begun) {
                None => {
                    self.inherit(&view);
                    return true;
                }
                Some(what) => info!(alloc = %self.shared.id, waits_for = %what, "allocation waits for another to end"),
            }
            tokio::select! {
                () = bell.wait() => {}
                r = views.changed() => if r.is_err() { return false },
                r = self.orders.changed() => if r.is_err() || *self.orders.borrow() == Order::End { return false },
                () = self.cancel.cancelled() => return false,
            }
        }
    }

    /// A killed agent may have started tasks that it never reported.
    fn may_have_begun(&self, view: &View) -> bool {
        let journal = &self.shared.services.journal;
        let names = view.group().map(|g| g.tasks.iter().map(|t| t.name.clone()).collect::<Vec<_>>());
        names
            .unwrap_or_default()
            .into_iter()
            .any(|task| journal.get(&crate::driver::TaskKey { alloc: self.shared.id, task }).is_some())
    }

    fn obstacle(&self, view: &View) -> Option<String> {
        let state = self.shared.services.replica.snapshot();
        let ours = &view.alloc.resources.ports;
        let blocks = |other: &model::Alloc| {
            let shares = other.resources.ports.iter().any(|p| ours.iter().any(|o| o.value == p.value));
            // Its room, and with a sticky disk its data, are this one's: the scheduler counted the pair once.
            let follows = view.alloc.previous == Some(other.id);
            other.id != view.alloc.id && other.server_terminal() && !other.client.terminal() && (shares || follows)
        };
        state
            .allocs_on_node(self.shared.services.node)
            .find(|a| blocks(a))
            .map(|a| a.name.clone() + " " + &a.id.short())
    }

    fn inherit(&self, view: &View) {
        let sticky = view.group().is_some_and(|g| g.disk.sticky);
        let Some(previous) = view.alloc.previous.filter(|_| sticky) else { return };
        let from = super::alloc_dir::AllocDir::of(&self.shared.services.config.data_dir, previous);
        if let Err(e) = self.shared.dir.inherit(&from) {
            warn!(alloc = %self.shared.id, error = %e, "the data of the previous allocation could not be taken over");
        }
    }

    fn spawn_tasks(&self, names: &[TaskName], set: &mut JoinSet<()>) -> BTreeMap<TaskName, watch::Sender<Control>> {
        let mut controls = BTreeMap::new();
        for name in names {
            let (tx, rx) = watch::channel(Control::default());
            controls.insert(name.clone(), tx);
            match self.shared.driver_of(name) {
                Some(driver) => {
                    let task = TaskRunner::new(Arc::clone(&self.shared), name.clone(), driver, rx, self.cancel.clone());
                    set.spawn(task.run());
                }
                None => {
                    let view = self.shared.view();
                    let driver = view.group().and_then(|g| g.task(name)).map_or("", |t| t.driver.as_str()).to_owned();
                    let known: Vec<_> = self.shared.services.drivers.keys().copied().collect();
                    let why = format!("this node has no driver {driver:?}; it has {}", known.join(", "));
                    self.shared.set_task(name, task_runner::stillborn(events::driver_failure(&why)));
                }
            }
        }
        controls
    }

    /// Tell the tasks what to do until all are dead.
    async fn follow(&mut self, controls: &BTreeMap<TaskName, watch::Sender<Control>>) -> Finished {
        let mut views = self.shared.views();
        let mut changes = self.shared.changes();
        let mut kill_at: Option<tokio::time::Instant> = None;
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            changes.mark_unchanged();
            let Some(group) = view.group() else { return Finished::Over };
            let (tasks, _) = self.shared.tasks_and_checks();
            let ending = self.ending(&view, group, &tasks);
            let dead = group.tasks.iter().all(|t| tasks.get(&t.name).is_some_and(|s| s.phase == TaskPhase::Dead));
            if dead {
                return Finished::Over;
            }
            let now = clock::now();
            let told = match &ending {
                None => None,
                Some(Ending::Stopped) => {
                    if view.may_be_signalled(now) && kill_at.is_none() {
                        let skip = view.alloc.transition.no_shutdown_delay;
                        let delay = if skip { Duration::ZERO } else { group.shutdown_delay };
                        kill_at = Some(tokio::time::Instant::now() + delay);
                    }
                    kill_at.filter(|at| tokio::time::Instant::now() >= *at).map(|_| &Ending::Stopped)
                }
                Some(other) => Some(other),
            };
            self.tell(controls, group, &tasks, &view, ending.is_some(), told);
            let timer = next_look(&view, kill_at, told.is_none(), now);
            tokio::select! {
                () = self.cancel.cancelled() => return Finished::Detached,
                () = async { match timer { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {}
                r = changes.changed() => if r.is_err() { return Finished::Detached },
                r = views.changed() => if r.is_err() { return Finished::Detached },
                r = self.orders.changed() => if r.is_err() { return Finished::Detached },
            }
        }
    }

    fn ending(
        &self,
        view: &View,
        group: &model::Group,
        tasks: &BTreeMap<TaskName, model::alloc::TaskState>,
    ) -> Option<Ending> {
        // The servers gave it up while this node was away: it has been replaced.
        if *self.orders.borrow() == Order::End || view.alloc.client == ClientStatus::Lost {
            return Some(Ending::Ordered);
        }
        if view.alloc.server_terminal() {
            return Some(Ending::Stopped);
        }
        lifecycle::must_end(group, tasks).map(Ending::Because)
    }

    fn tell(
        &self,
        controls: &BTreeMap<TaskName, watch::Sender<Control>>,
        group: &model::Group,
        tasks: &BTreeMap<TaskName, model::alloc::TaskState>,
        view: &View,
        ending: bool,
        told: Option<&Ending>,
    ) {
        let leader_lives =
            group.tasks.iter().any(|t| t.leader && tasks.get(&t.name).is_some_and(|s| s.phase == TaskPhase::Running));
        for task in &group.tasks {
            let Some(control) = controls.get(&task.name) else { continue };
            let last = role(task) == lifecycle::Role::Poststop;
            let kill = told.filter(|_| !last || matches!(told, Some(Ending::Ordered))).and_then(|why| {
                // The leader goes first; the others follow when it is gone.
                let waits = leader_lives && !task.leader && !matches!(why, Ending::Because(_));
                (!waits).then(|| Kill {
                    event: event_of(why, &task.name),
                    at_once: view.alloc.transition.no_shutdown_delay || matches!(why, Ending::Ordered),
                })
            });
            let may_start = lifecycle::may_start(group, tasks, task, ending);
            control.send_if_modified(|c| {
                let differs = c.may_start != may_start || (c.kill.is_none() && kill.is_some());
                c.may_start = may_start;
                if c.kill.is_none() {
                    c.kill = kill;
                }
                differs
            });
        }
    }
}

fn event_of(why: &Ending, task: &TaskName) -> Option<model::alloc::TaskEvent> {
    match why {
        Ending::Because(Why::Sibling(failed)) if failed != task => Some(events::sibling_failed(failed.as_str())),
        Ending::Because(Why::Leader) => Some(events::leader_dead()),
        Ending::Because(Why::MainDone) => Some(events::main_dead()),
        _ => None,
    }
}

/// When to look again though nothing changed: the end of the leaving handshake or of the group's delay.
fn next_look(
    view: &View,
    kill_at: Option<tokio::time::Instant>,
    waiting: bool,
    now: model::Timestamp,
) -> Option<tokio::time::Instant> {
    if !waiting || !view.alloc.server_terminal() {
        return None;
    }
    kill_at.or_else(|| {
        let deadline = view.alloc.leaving.as_ref()?.deadline;
        Some(tokio::time::Instant::now() + deadline.since(now) + Duration::from_millis(1))
    })
}
