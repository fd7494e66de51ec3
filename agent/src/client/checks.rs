//! The checks of an allocation's services: which run now, and what their verdicts lead to.
//!
//! A check runs while its task does; it begins anew when the task or its definition is another.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use discovery::check::{self, ScriptRunner};
use futures_util::future::BoxFuture;
use model::{
    CheckId, ClientStatus, TaskName, Timestamp,
    alloc::{CheckState, TaskPhase, TaskState},
    catalog::CheckDefinition,
    check::Verdict,
    service::CheckRestart,
    state::derive,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    clock, lifecycle,
    shared::{Request, Restart, Shared},
    view::View,
};

/// A check that ought to run.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    name: String,
    definition: CheckDefinition,
    initial: Verdict,
    /// The task it belongs to; `None` = the group.
    task: Option<TaskName>,
    /// When that task began; another begin is another check.
    began: Timestamp,
    restart: Option<CheckRestart>,
}

/// The checks that ought to run, given what runs.
fn wanted(view: &View, tasks: &BTreeMap<TaskName, TaskState>) -> BTreeMap<CheckId, Wanted> {
    let Some(group) = view.group() else { return BTreeMap::new() };
    if view.alloc.server_terminal() {
        return BTreeMap::new();
    }
    let up = lifecycle::status(group, tasks).0 == ClientStatus::Running;
    let mut all = BTreeMap::new();
    for template in derive::templates(&view.job, &view.alloc, &view.node) {
        for (id, spec) in &template.specs {
            let task = spec.task.clone().or_else(|| template.task.clone());
            let began = match &task {
                Some(name) => tasks.get(name).filter(|s| s.phase == TaskPhase::Running).map(|s| s.started_at),
                None => up.then_some(Timestamp::ZERO),
            };
            let (Some(began), Some(check)) = (began, template.instance.checks.get(id)) else { continue };
            let Some(definition) = check.definition.clone() else { continue };
            let initial = spec.initial.unwrap_or(Verdict::Critical);
            let restart = spec.restart.clone().filter(|r| r.limit > 0);
            all.insert(id.clone(), Wanted { name: check.name.clone(), definition, initial, task, began, restart });
        }
    }
    all
}

/// Keep the right checks running until cancelled.
pub async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut views = shared.views();
    let mut changes = shared.changes();
    let mut running: BTreeMap<CheckId, (Wanted, CancellationToken)> = BTreeMap::new();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        changes.mark_unchanged();
        let (tasks, states) = shared.tasks_and_checks();
        let ought = wanted(&view, &tasks);
        running.retain(|id, (is, token)| {
            let stays = ought.get(id) == Some(is);
            if !stays {
                token.cancel();
            }
            stays
        });
        if !view.alloc.server_terminal() {
            shared.keep_checks(|id| ought.contains_key(id));
        }
        for (id, check) in ought {
            let Entry::Vacant(place) = running.entry(id.clone()) else { continue };
            let token = cancel.child_token();
            let known = states.get(&id).map(|s| s.verdict);
            tokio::spawn(attend(Arc::clone(&shared), id, check.clone(), known, token.clone()));
            place.insert((check, token));
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            r = changes.changed() => if r.is_err() { return },
            r = views.changed() => if r.is_err() { return },
        }
    }
}

/// One check: run it, write down what it finds, restart its task when it stays bad.
async fn attend(shared: Arc<Shared>, id: CheckId, wanted: Wanted, known: Option<Verdict>, token: CancellationToken) {
    let (tx, mut rx) = mpsc::channel(4);
    let scripts = Arc::new(InTask { shared: Arc::clone(&shared), task: wanted.task.clone() });
    let initial = known.unwrap_or(wanted.initial);
    let probe = check::run(id.clone(), wanted.definition.clone(), initial, scripts, tx, token.clone());
    let listen = async {
        let mut patience = Patience::new(wanted.restart.clone(), wanted.definition.interval);
        loop {
            let report = tokio::select! {
                report = rx.recv() => report,
                () = patience.ends() => {
                    restart(&shared, &wanted);
                    return;
                }
            };
            let Some(report) = report else { return };
            patience.saw(report.verdict);
            let state = CheckState { verdict: report.verdict, output: report.output, at: clock::now() };
            shared.set_check(id.clone(), state, &token);
        }
    };
    tokio::join!(probe, listen);
}

fn restart(shared: &Shared, wanted: &Wanted) {
    let Some(task) = &wanted.task else { return };
    info!(alloc = %shared.id, %task, check = %wanted.name, "a failing check restarts its task");
    shared.ask(task, Request::Restart { why: Restart::Check(wanted.name.clone()), reply: None });
}

/// How long a bad check is borne: `limit` probes in a row, counted by time as verdicts only tell changes.
struct Patience {
    rule: Option<CheckRestart>,
    interval: Duration,
    not_before: Instant,
    until: Option<Instant>,
}

impl Patience {
    fn new(rule: Option<CheckRestart>, interval: Duration) -> Self {
        let grace = rule.as_ref().map_or(Duration::ZERO, |r| r.grace);
        Self { rule, interval, not_before: Instant::now() + grace, until: None }
    }

    fn saw(&mut self, verdict: Verdict) {
        let Some(rule) = &self.rule else { return };
        let bad = verdict == Verdict::Critical || (verdict == Verdict::Warning && !rule.ignore_warnings);
        if !bad {
            self.until = None;
        } else if self.until.is_none() {
            let from = Instant::now().max(self.not_before);
            self.until = Some(from + self.interval * (rule.limit - 1));
        }
    }

    async fn ends(&self) {
        match self.until {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// Scripts run inside the task they check.
struct InTask {
    shared: Arc<Shared>,
    task: Option<TaskName>,
}

impl ScriptRunner for InTask {
    fn run(&self, command: &str, args: &[String], timeout: Duration) -> BoxFuture<'_, Result<(i32, String), String>> {
        let mut line = vec![command.to_owned()];
        line.extend_from_slice(args);
        Box::pin(async move {
            let task = self.task.as_ref().ok_or("a script check of a group needs task = \"…\"")?;
            let handle = self.shared.handle(task).ok_or("the task does not run")?;
            let driver = self.shared.driver_of(task).ok_or("the task's driver is not there")?;
            driver.exec(&handle, &line, timeout).await.map_err(|e| e.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_probes_by_time() {
        let rule = CheckRestart { limit: 3, grace: Duration::from_secs(5), ignore_warnings: true };
        let mut p = Patience::new(Some(rule), Duration::from_secs(2));
        let grace_over = p.not_before;
        p.saw(Verdict::Critical);
        assert_eq!(p.until, Some(grace_over + Duration::from_secs(4)));
        p.saw(Verdict::Passing);
        p.saw(Verdict::Warning);
        assert!(p.until.is_none());
    }
}
