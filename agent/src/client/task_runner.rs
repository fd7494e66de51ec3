//! One task of an allocation, from its start to its last end.
//!
//! ```text
//!  resume ─► wait for permission ─► start ─► attend ─► ended? ─► restart policy ─► again, or dead
//!              (lifecycle)          intent              killed ─► dead
//!                                   before spawn        asked to restart ─► stop ─► again
//! ```
//! Every step is in the journal before its effect is, or can be found out afterwards; so a killed agent loses nothing.

use std::{sync::Arc, time::Duration};

use model::{
    TaskName,
    alloc::{TaskEvent, TaskPhase, TaskState},
    job::{RestartPolicy, Task},
};
use rand::RngExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Error, clock, events,
    journal::{Phase, Record},
    lifecycle,
    restart::{self, Decision, Ended},
    shared::{Request, Restart, Shared},
};
use crate::driver::{self, Driver, Exit, Handle, TaskKey, signals};

mod prepare;
mod stop;

/// How often an engine that does not answer is asked again while taking up its tasks.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What the allocation wants of its task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    pub may_start: bool,
    pub kill: Option<Kill>,
}

/// End it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// What the task's events say about why.
    pub event: Option<TaskEvent>,
    /// Do not wait for `shutdown_delay`.
    pub at_once: bool,
}

pub struct TaskRunner {
    shared: Arc<Shared>,
    key: TaskKey,
    driver: Arc<dyn Driver>,
    control: watch::Receiver<Control>,
    requests: mpsc::Receiver<Request>,
    record: Record,
    cancel: CancellationToken,
}

/// Why attending to a running task ended.
enum Attended {
    Exited(Exit),
    Killed,
    /// Stopped in order to begin again.
    Restart(Restart),
    /// The agent leaves; the task goes on.
    Detached,
}

/// Whether there is a next run.
enum Next {
    Again,
    Over,
}

impl TaskRunner {
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        name: TaskName,
        driver: Arc<dyn Driver>,
        control: watch::Receiver<Control>,
        cancel: CancellationToken,
    ) -> Self {
        let requests = shared.open_requests(&name);
        let key = TaskKey { alloc: shared.id, task: name };
        Self { shared, key, driver, control, requests, record: Record::default(), cancel }
    }

    fn task(&self) -> Option<Task> {
        self.shared.view().group()?.task(&self.key.task).cloned()
    }

    fn policy(&self) -> RestartPolicy {
        let view = self.shared.view();
        let group = view.group();
        let own = group.and_then(|g| g.task(&self.key.task)).and_then(|t| t.restart.clone());
        own.or_else(|| group.map(|g| g.restart.clone())).unwrap_or_else(|| RestartPolicy::of(view.job.kind))
    }

    /// Change the record: into the journal first, then to the servers. Returns the report's ticket.
    async fn change(&mut self, f: impl FnOnce(&mut Record)) -> u64 {
        f(&mut self.record);
        if let Err(e) = self.shared.services.journal.put(&self.key, &self.record).await {
            warn!(task = %self.key, error = %e, "the journal could not be written; a restart of the agent would look for the task");
        }
        self.shared.set_task(&self.key.task, self.record.state.clone())
    }

    async fn note(&mut self, event: TaskEvent) {
        self.change(|r| events::push(&mut r.state, event)).await;
    }

    async fn dead(&mut self, failed: bool) {
        self.shared.set_handle(&self.key.task, None);
        self.change(|r| {
            r.phase = Phase::Dead;
            r.state.phase = TaskPhase::Dead;
            r.state.failed = failed;
            r.state.finished_at = clock::now();
        })
        .await;
    }

    /// Run until the task is dead or the agent leaves.
    pub async fn run(mut self) {
        let mut running = self.resume().await;
        while self.record.phase != Phase::Dead {
            let handle = match running.take() {
                Some(handle) => handle,
                None => {
                    if !self.permitted().await {
                        return;
                    }
                    match self.start().await {
                        Ok(handle) => handle,
                        Err(e) => match self.start_failed(&e).await {
                            Next::Again => continue,
                            Next::Over => return,
                        },
                    }
                }
            };
            self.shared.set_handle(&self.key.task, Some(handle.clone()));
            let next = match self.attend(&handle).await {
                Attended::Detached => return,
                Attended::Killed => {
                    self.dead(false).await;
                    self.forget(&handle).await;
                    return;
                }
                Attended::Exited(exit) => self.exited(&handle, &exit).await,
                Attended::Restart(why) => self.begin_again(&handle, &why).await,
            };
            if matches!(next, Next::Over) {
                return;
            }
        }
    }

    /// What an earlier agent left: a running task, a finished one, or nothing.
    async fn resume(&mut self) -> Option<Handle> {
        let known = self.shared.task(&self.key.task);
        let stored = self.shared.services.journal.get(&self.key);
        let look = self.shared.services.journal.rebuilt() || known.as_ref().is_some_and(|s| !s.started_at.is_zero());
        match stored {
            Some(record) => {
                self.record = record;
                match self.record.phase.clone() {
                    Phase::Running(handle) => return self.take_up(handle).await,
                    Phase::Intent(run) => return self.look_for(Some(run)).await,
                    Phase::Dead => {
                        self.shared.set_task(&self.key.task, self.record.state.clone());
                        return None;
                    }
                    Phase::Idle => {}
                }
            }
            None => {
                self.record.state = known.unwrap_or_default();
                if self.record.state.phase == TaskPhase::Dead {
                    self.record.phase = Phase::Dead;
                    return None;
                }
                if look {
                    let found = self.look_for(None).await;
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        if self.record.state.events.is_empty() {
            self.note(events::received()).await;
        } else if self.record.state.phase == TaskPhase::Running {
            self.change(|r| r.state.phase = TaskPhase::Pending).await;
        }
        None
    }

    async fn take_up(&mut self, handle: Handle) -> Option<Handle> {
        loop {
            match self.driver.recover(&handle).await {
                Ok(()) => {
                    info!(task = %self.key, "task taken up again");
                    self.shared.set_task(&self.key.task, self.record.state.clone());
                    return Some(handle);
                }
                Err(driver::Error::Unavailable(why)) => {
                    warn!(task = %self.key, %why, "its driver does not answer; asking again");
                    if !self.pause(ASK_AGAIN).await {
                        return None;
                    }
                }
                Err(e) => {
                    info!(task = %self.key, error = %e, "task is not there any more");
                    return self.look_for(Some(handle.run)).await;
                }
            }
        }
    }

    /// After this nothing runs, or what runs is ours.
    async fn look_for(&mut self, run: Option<u64>) -> Option<Handle> {
        loop {
            match self.driver.find(&self.key, run).await {
                Ok(Some(handle)) => {
                    info!(task = %self.key, run = handle.run, "task found running");
                    let mut found = handle.clone();
                    found.run = handle.run;
                    self.change(|r| {
                        r.run = found.run;
                        r.phase = Phase::Running(found);
                        r.state.phase = TaskPhase::Running;
                        if r.state.started_at.is_zero() {
                            r.state.started_at = clock::now();
                        }
                        events::push(&mut r.state, events::recovered());
                    })
                    .await;
                    return Some(handle);
                }
                Ok(None) => {
                    self.change(|r| {
                        r.phase = Phase::Idle;
                        r.state.phase = TaskPhase::Pending;
                    })
                    .await;
                    return None;
                }
                Err(e) => {
                    warn!(task = %self.key, error = %e, "cannot tell what became of the task; asking again");
                    if !self.pause(ASK_AGAIN).await {
                        return None;
                    }
                }
            }
        }
    }

    /// `false` when the agent leaves meanwhile.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.cancel.cancelled() => false,
        }
    }

    /// Until the lifecycle lets it start; `false` when it is killed first or the agent leaves.
    async fn permitted(&mut self) -> bool {
        loop {
            let control = self.control.borrow_and_update().clone();
            if let Some(kill) = control.kill {
                if let Some(event) = kill.event {
                    self.note(event).await;
                }
                self.dead(false).await;
                return false;
            }
            if control.may_start && !self.cancel.is_cancelled() {
                return true;
            }
            tokio::select! {
                r = self.control.changed() => if r.is_err() { return false },
                () = self.cancel.cancelled() => return false,
                Some(request) = self.requests.recv() => refuse(request, &self.key),
            }
        }
    }

    /// Wait before the next run; a kill ends the waiting.
    async fn delay(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        loop {
            if self.control.borrow_and_update().kill.is_some() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.cancel.cancelled() => return,
                r = self.control.changed() => if r.is_err() { return },
                Some(request) = self.requests.recv() => match request {
                    // It is about to begin again: that is what was asked for.
                    Request::Restart { reply, .. } => {
                        answer(reply, Ok(()));
                        return;
                    }
                    other => refuse(other, &self.key),
                },
            }
        }
    }

    async fn attend(&mut self, handle: &Handle) -> Attended {
        let driver = Arc::clone(&self.driver);
        let wait = driver.wait(handle);
        tokio::pin!(wait);
        loop {
            let kill = self.control.borrow_and_update().kill.clone();
            if let Some(kill) = kill {
                if let Some(event) = kill.event {
                    self.note(event).await;
                }
                self.stop(handle, &mut wait, kill.at_once).await;
                return Attended::Killed;
            }
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Attended::Detached,
                exit = &mut wait => return Attended::Exited(exit.unwrap_or_else(|e| lost(&e))),
                r = self.control.changed() => if r.is_err() { return Attended::Detached },
                Some(request) = self.requests.recv() => match request {
                    Request::Signal { name, reply } => {
                        let sent = self.pass_signal(handle, &name).await;
                        let _ = reply.send(sent);
                    }
                    Request::Restart { why, reply } => {
                        self.leave_first(&why).await;
                        self.stop(handle, &mut wait, false).await;
                        answer(reply, Ok(()));
                        return Attended::Restart(why);
                    }
                },
            }
        }
    }

    async fn pass_signal(&mut self, handle: &Handle, name: &str) -> Result<(), driver::Error> {
        let signal = signals::parse(name)?;
        self.note(events::signaling(signal.as_str())).await;
        self.driver.signal(handle, signal).await
    }

    async fn exited(&mut self, handle: &Handle, exit: &Exit) -> Next {
        info!(task = %self.key, code = exit.code, signal = exit.signal, "task ended");
        self.shared.set_handle(&self.key.task, None);
        let event = events::terminated(exit);
        if exit.lost.is_some() {
            // Not the task's fault: a reboot or a killed shim does not use up its attempts.
            self.change(|r| {
                r.phase = Phase::Idle;
                r.state.phase = TaskPhase::Pending;
                events::push(&mut r.state, event);
            })
            .await;
            self.forget(handle).await;
            return Next::Again;
        }
        let next = self.decide(Ended::Exited { success: exit.success() }, Some(event)).await;
        self.forget(handle).await;
        self.follow(next).await
    }

    async fn start_failed(&mut self, error: &Error) -> Next {
        if self.cancel.is_cancelled() {
            return Next::Over;
        }
        warn!(task = %self.key, %error, "task did not start");
        let (event, retry) = match error {
            Error::Driver(e) => (events::driver_failure(&e.to_string()), e.retryable()),
            Error::Task(why) => (events::failed_validation(why), false),
            other => (events::setup_failure(&other.to_string()), true),
        };
        let next = self.decide(Ended::NotStarted { retry }, Some(event)).await;
        self.follow(next).await
    }

    async fn begin_again(&mut self, handle: &Handle, why: &Restart) -> Next {
        self.shared.set_handle(&self.key.task, None);
        let next = match why {
            Restart::User => {
                self.change(|r| {
                    r.phase = Phase::Idle;
                    r.state.phase = TaskPhase::Pending;
                    r.state.restarts += 1;
                    r.state.last_restart = clock::now();
                })
                .await;
                Some(Duration::ZERO)
            }
            Restart::Check(_) => self.decide(Ended::Unhealthy, None).await,
        };
        self.forget(handle).await;
        self.follow(next).await
    }

    /// Ask the restart policy and write its answer down; the delay before the next run, if there is one.
    async fn decide(&mut self, ended: Ended, event: Option<TaskEvent>) -> Option<Duration> {
        let (policy, kind) = (self.policy(), self.shared.view().job.kind);
        let sidecar = self.task().is_some_and(|t| lifecycle::sidecar(&t));
        let once = self.task().is_some_and(|t| t.lifecycle.is_some_and(|l| !l.sidecar));
        let mut tally = self.record.tally;
        let jitter = rand::rng().random_range(0.0..1.0);
        let decision = match ended {
            // A hook that is no sidecar runs to its end once, whatever the job's type.
            Ended::Exited { success: true } if once => {
                Decision::Done { reason: "Restart unnecessary as task terminated successfully" }
            }
            _ => restart::decide(&policy, kind, sidecar, ended, &mut tally, clock::now(), jitter),
        };
        let now = clock::now();
        self.change(|r| {
            r.tally = tally;
            let s = &mut r.state;
            s.finished_at = now;
            if let Some(event) = event {
                events::push(s, event);
            }
            match &decision {
                Decision::Again { after, reason } => {
                    r.phase = Phase::Idle;
                    s.phase = TaskPhase::Pending;
                    s.restarts += 1;
                    s.last_restart = now;
                    events::push(s, events::restarting(*after, reason));
                }
                Decision::Done { .. } => {
                    r.phase = Phase::Dead;
                    s.phase = TaskPhase::Dead;
                }
                Decision::Failed { reason } => {
                    r.phase = Phase::Dead;
                    s.phase = TaskPhase::Dead;
                    s.failed = true;
                    events::push(s, events::not_restarting(reason, true));
                }
            }
        })
        .await;
        match decision {
            Decision::Again { after, .. } => Some(after),
            _ => None,
        }
    }

    async fn follow(&mut self, next: Option<Duration>) -> Next {
        match next {
            None => Next::Over,
            Some(after) => {
                self.delay(after).await;
                if self.cancel.is_cancelled() { Next::Over } else { Next::Again }
            }
        }
    }

    /// The run is over and in the journal: its control files or container can go.
    async fn forget(&self, handle: &Handle) {
        if let Err(e) = self.driver.destroy(handle).await {
            warn!(task = %self.key, error = %e, "what is left of an ended task could not be removed");
        }
    }
}

fn lost(e: &driver::Error) -> Exit {
    Exit { code: -1, lost: Some(e.to_string()), ..Exit::default() }
}

fn answer(reply: Option<oneshot::Sender<Result<(), driver::Error>>>, result: Result<(), driver::Error>) {
    if let Some(reply) = reply {
        let _ = reply.send(result);
    }
}

fn refuse(request: Request, key: &TaskKey) {
    let gone = || Err(driver::Error::Gone(key.clone()));
    match request {
        Request::Restart { reply, .. } => answer(reply, gone()),
        Request::Signal { reply, .. } => {
            let _ = reply.send(gone());
        }
    }
}

/// A state for a task that can never run here.
#[must_use]
pub fn stillborn(event: TaskEvent) -> TaskState {
    let mut state =
        TaskState { phase: TaskPhase::Dead, failed: true, finished_at: clock::now(), ..TaskState::default() };
    events::push(&mut state, events::received());
    events::push(&mut state, event);
    state
}
