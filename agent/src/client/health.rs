//! The health of a new allocation, for deployments and drains: healthy long enough, or not in time.
//!
//! [`judge`] is pure; [`watch`] asks it whenever something changes and writes the answer into the allocation's report.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{
    CheckId, DeploymentId, JobKind, TaskName, Timestamp,
    alloc::{CheckState, TaskPhase, TaskState},
    check::Verdict,
    job::{Group, HealthSource},
    service::OnUpdate,
    state::derive,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    clock,
    lifecycle::{Role, role, sidecar},
    shared::Shared,
    view::View,
};

/// What counts as healthy, and by when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub source: HealthSource,
    pub min_healthy: Duration,
    pub deadline: Timestamp,
    /// Checks that must be good, with how updates treat them.
    pub checks: Vec<(CheckId, OnUpdate)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Healthy,
    Unhealthy(String),
    /// Not known before this time, unless something changes.
    Later(Timestamp),
}

/// Look at an allocation at `now`.
#[must_use]
pub fn judge(
    rule: &Rule,
    group: &Group,
    tasks: &BTreeMap<TaskName, TaskState>,
    checks: &BTreeMap<CheckId, CheckState>,
    now: Timestamp,
) -> Judgement {
    if let Some((name, _)) = tasks.iter().find(|(_, s)| s.phase == TaskPhase::Dead && s.failed) {
        return Judgement::Unhealthy(format!("task {name:?} failed"));
    }
    let since = healthy_since(rule, group, tasks, checks);
    if now >= rule.deadline && since.is_none_or(|s| rule.deadline < s + rule.min_healthy) {
        return Judgement::Unhealthy("not healthy by its healthy_deadline".into());
    }
    match since.map(|s| s + rule.min_healthy) {
        Some(at) if now >= at => Judgement::Healthy,
        Some(at) => Judgement::Later(at.min(rule.deadline)),
        None => Judgement::Later(rule.deadline),
    }
}

/// Since when everything that counts has been good; `None` while something is not.
fn healthy_since(
    rule: &Rule,
    group: &Group,
    tasks: &BTreeMap<TaskName, TaskState>,
    checks: &BTreeMap<CheckId, CheckState>,
) -> Option<Timestamp> {
    let mut since = Timestamp::ZERO;
    for task in &group.tasks {
        let lasting = role(task) == Role::Main || sidecar(task);
        match (role(task), lasting) {
            (Role::Poststop, _) => {}
            (_, true) => {
                let s = tasks.get(&task.name).filter(|s| s.phase == TaskPhase::Running)?;
                since = since.max(s.started_at);
            }
            (_, false) => {
                let s = tasks.get(&task.name).filter(|s| s.succeeded())?;
                since = since.max(s.finished_at);
            }
        }
    }
    if rule.source == HealthSource::Checks {
        for (id, on_update) in &rule.checks {
            let good = |v: Verdict| match on_update {
                OnUpdate::RequireHealthy => v == Verdict::Passing,
                OnUpdate::IgnoreWarnings => v <= Verdict::Warning,
                OnUpdate::Ignore => true,
            };
            if *on_update == OnUpdate::Ignore {
                continue;
            }
            let s = checks.get(id).filter(|s| good(s.verdict))?;
            since = since.max(s.at);
        }
    }
    Some(since)
}

/// The rule of an allocation that began to be watched at `from`; `None` when nobody asks.
fn rule(view: &View, from: Timestamp) -> Option<Rule> {
    let group = view.group()?;
    if !matches!(view.job.kind, JobKind::Service | JobKind::System) {
        return None;
    }
    let (source, min_healthy, within) = match (&view.alloc.deployment, &group.update) {
        (Some(_), Some(u)) => (u.health_check, u.min_healthy_time, u.healthy_deadline),
        _ => (group.migrate.health_check, group.migrate.min_healthy_time, group.migrate.healthy_deadline),
    };
    if source == HealthSource::Manual {
        return None;
    }
    let checks = derive::templates(&view.job, &view.alloc, &view.node)
        .iter()
        .zip(group.all_services())
        .flat_map(|(t, service)| {
            t.specs
                .iter()
                .map(|(id, spec)| (id.clone(), spec.on_update.unwrap_or(service.on_update)))
                .collect::<Vec<_>>()
        })
        .collect();
    Some(Rule { source, min_healthy, deadline: from + within, checks })
}

/// Watch one allocation until cancelled: every deployment it takes part in is judged once.
pub async fn watch(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut views = shared.views();
    let mut changes = shared.changes();
    let mut watched: Option<(Option<DeploymentId>, Timestamp)> = None;
    let mut decided = false;
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let deployment = view.alloc.deployment;
        if watched.is_none_or(|(d, _)| d != deployment) {
            // What an earlier agent already found stays found.
            decided = view.alloc.health.is_some();
            let from = if watched.is_none() { view.alloc.created_at.max(view.alloc.modified_at) } else { clock::now() };
            watched = Some((deployment, from.min(clock::now())));
            if !decided {
                shared.set_healthy(None);
            }
        }
        let from = watched.map_or(Timestamp::ZERO, |(_, from)| from);
        let mut again = None;
        if let (false, Some(rule), Some(group)) =
            (decided || view.alloc.server_terminal(), rule(&view, from), view.group())
        {
            changes.mark_unchanged();
            let (tasks, checks) = shared.tasks_and_checks();
            let judgement = judge(&rule, group, &tasks, &checks, clock::now());
            match judgement {
                Judgement::Later(at) => again = Some(at),
                Judgement::Healthy => {
                    decided = true;
                    info!(alloc = %shared.id, "allocation is healthy");
                    shared.set_healthy(Some(true));
                }
                Judgement::Unhealthy(why) => {
                    decided = true;
                    info!(alloc = %shared.id, %why, "allocation is unhealthy");
                    // Without a deployment nobody acts on it, and the tasks' own state tells the story.
                    if deployment.is_some() {
                        shared.set_healthy(Some(false));
                    }
                }
            }
        }
        let timer = async {
            match again {
                Some(at) => tokio::time::sleep(at.since(clock::now()).max(Duration::from_millis(1))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = timer => {}
            r = changes.changed() => if r.is_err() { return },
            r = views.changed() => if r.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use model::job::Task;

    use super::*;

    fn at(s: u64) -> Timestamp {
        Timestamp::from_secs(s)
    }

    fn rule(checks: &[(&str, OnUpdate)]) -> Rule {
        Rule {
            source: HealthSource::Checks,
            min_healthy: Duration::from_secs(10),
            deadline: at(100),
            checks: checks.iter().map(|(c, o)| ((*c).into(), *o)).collect(),
        }
    }

    fn group() -> Group {
        Group { tasks: vec![Task { name: "t".into(), ..Task::default() }], ..Group::default() }
    }

    fn running(since: u64) -> BTreeMap<TaskName, TaskState> {
        [("t".into(), TaskState { phase: TaskPhase::Running, started_at: at(since), ..TaskState::default() })].into()
    }

    fn check(verdict: Verdict, since: u64) -> BTreeMap<CheckId, CheckState> {
        [("c".into(), CheckState { verdict, output: String::new(), at: at(since) })].into()
    }

    #[test]
    fn healthy_only_after_the_minimum() {
        let (r, g) = (rule(&[]), group());
        assert_eq!(judge(&r, &g, &running(5), &BTreeMap::new(), at(14)), Judgement::Later(at(15)));
        assert_eq!(judge(&r, &g, &running(5), &BTreeMap::new(), at(15)), Judgement::Healthy);
        assert_eq!(judge(&r, &g, &BTreeMap::new(), &BTreeMap::new(), at(15)), Judgement::Later(at(100)));
    }

    #[test]
    fn checks_count_from_their_last_change() {
        let (r, g) = (rule(&[("c", OnUpdate::RequireHealthy)]), group());
        assert_eq!(judge(&r, &g, &running(5), &check(Verdict::Passing, 20), at(25)), Judgement::Later(at(30)));
        assert_eq!(judge(&r, &g, &running(5), &check(Verdict::Warning, 20), at(90)), Judgement::Later(at(100)));
        let lenient = rule(&[("c", OnUpdate::IgnoreWarnings)]);
        assert_eq!(judge(&lenient, &g, &running(5), &check(Verdict::Warning, 20), at(90)), Judgement::Healthy);
        let blind = rule(&[("c", OnUpdate::Ignore)]);
        assert_eq!(judge(&blind, &g, &running(5), &check(Verdict::Critical, 20), at(90)), Judgement::Healthy);
    }

    #[test]
    fn too_late_or_failed_is_unhealthy() {
        let (r, g) = (rule(&[]), group());
        assert!(matches!(judge(&r, &g, &running(95), &BTreeMap::new(), at(100)), Judgement::Unhealthy(_)));
        let failed = [("t".into(), TaskState { phase: TaskPhase::Dead, failed: true, ..TaskState::default() })].into();
        assert!(matches!(judge(&r, &g, &failed, &BTreeMap::new(), at(1)), Judgement::Unhealthy(_)));
    }
}
