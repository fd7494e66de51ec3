//! Jobs, allocations, deployments and evaluations: statuses, versions, counts, and what wakes the scheduler.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use super::{alloc, job, node, place, running, stop};
use crate::{
    alloc::{AllocReport, ClientStatus},
    command::{Command, Rejected},
    deployment::{Deployment, DeploymentStatus, GroupRollout},
    eval::{Eval, Trigger},
    id::{DeploymentId, EvalId, Index},
    job::{Job, JobKey, JobKind, JobStatus},
    node::NodeStatus,
    plan::{DeploymentChange, Plan, PlanResult},
    state::{State, VERSIONS_KEPT},
    time::Timestamp,
};

struct Log(State);

impl Log {
    fn new() -> Self {
        let mut log = Self(State::default());
        log.ok(Command::NodeRegister { node: Box::new(node()), at: Timestamp(1) });
        log
    }

    fn apply(&mut self, c: Command) -> Result<(), Rejected> {
        let index = Index(self.0.index.0 + 1);
        self.0.apply(index, c).reply.map(|_| ())
    }

    fn ok(&mut self, c: Command) {
        self.apply(c).expect("applies");
    }

    fn register(&mut self, job: Job) {
        self.ok(Command::JobRegister { job: Box::new(job), eval: None, enforce_index: None, at: Timestamp(1) });
    }

    fn job(&self) -> &Job {
        self.0.job(&key()).expect("exists")
    }

    fn report(&mut self, n: u128, client: ClientStatus, healthy: Option<bool>) {
        let report = AllocReport {
            id: alloc(n).id,
            client,
            client_description: String::new(),
            tasks: BTreeMap::new(),
            checks: BTreeMap::new(),
            healthy,
        };
        self.ok(Command::AllocReports { reports: vec![report], at: Timestamp(7) });
    }

    fn evals(&self) -> Vec<Trigger> {
        self.0.evals.values().map(|e| e.trigger).collect()
    }
}

fn key() -> JobKey {
    job().key()
}

fn deregister(purge: bool) -> Command {
    Command::JobDeregister { job: key(), purge, eval: None, at: Timestamp(2) }
}

fn deployment() -> Deployment {
    let rollout = GroupRollout {
        desired_total: 1,
        desired_canaries: 1,
        progress_deadline: Duration::from_secs(60),
        ..GroupRollout::default()
    };
    Deployment {
        id: DeploymentId(Uuid::from_u128(77)),
        job: key(),
        job_version: 0,
        job_modify_index: Index(0),
        job_create_index: Index(0),
        groups: [("g".into(), rollout)].into(),
        status: DeploymentStatus::Running,
        description: String::new(),
        priority: 50,
        create_index: Index(0),
        modify_index: Index(0),
        created_at: Timestamp(1),
        modified_at: Timestamp(1),
    }
}

/// A plan with a deployment and one canary of it.
fn canary(log: &mut Log) -> DeploymentId {
    log.register(job());
    let d = deployment();
    let mut a = alloc(7);
    a.deployment = Some(d.id);
    a.canary = true;
    let mut plan = Plan::empty(a.eval, 50, Index(0));
    plan.deployment = Some(d.clone());
    plan.places.push(a);
    let result = PlanResult { plan, evals: Vec::new(), at: Timestamp(3), leave_by: Timestamp(9) };
    log.ok(Command::Plans(vec![result]));
    d.id
}

fn eval(n: u128) -> Eval {
    let id = EvalId(Uuid::from_u128(n));
    Eval::pending(id, key(), JobKind::Service, 50, Trigger::DeploymentWatcher, Timestamp(4))
}

#[test]
fn a_jobs_status_follows_what_runs() {
    let mut log = Log::new();
    log.register(job());
    assert_eq!(log.job().status, JobStatus::Pending);
    log.ok(place(alloc(7)));
    log.ok(running(alloc(7).id));
    assert_eq!(log.job().status, JobStatus::Running);
    log.ok(deregister(false));
    assert_eq!(log.job().status, JobStatus::Running, "its allocation still runs");
    log.ok(stop(alloc(7).id));
    log.report(7, ClientStatus::Complete, None);
    assert_eq!(log.job().status, JobStatus::Dead);
    assert!(log.evals().is_empty(), "an end that was asked for is no reason to look");
}

#[test]
fn versions_rise_with_the_specification_and_old_ones_go() {
    let mut log = Log::new();
    log.register(job());
    log.register(job());
    assert_eq!(log.job().version, 0, "the same again is no new version");
    log.ok(place(alloc(7)));
    for n in 0..10 {
        let mut next = job();
        next.priority = 51 + n;
        log.register(next);
    }
    assert_eq!(log.job().version, 10);
    let versions: Vec<_> = log.0.job_history(&key()).iter().map(|j| j.version).collect();
    assert_eq!(versions.len(), VERSIONS_KEPT + 2);
    assert_eq!(versions.last(), Some(&0), "an allocation runs it");
    log.ok(deregister(false));
    log.register(job());
    assert_eq!((log.job().version, log.job().stop), (12, false), "stopping is a version too");
}

#[test]
fn a_purged_job_that_comes_back_is_not_confused_with_its_past() {
    let mut log = Log::new();
    log.register(job());
    log.ok(deregister(true));
    assert!(log.0.job_versions.is_empty());
    log.register(job());
    log.ok(place(alloc(7)));
    log.ok(deregister(true));
    assert!(log.0.job_of(&alloc(7)).is_some(), "a running allocation keeps its specification");
    log.register(job());
    assert_eq!(log.job().version, 1);
}

#[test]
fn scaling_respects_bounds_and_stopped_jobs() {
    let mut log = Log::new();
    let mut scaled = job();
    scaled.groups[0].scaling = Some(crate::job::Scaling { min: 1, max: Some(3), enabled: true });
    log.register(scaled);
    let scale = |count| Command::JobScale { job: key(), group: "g".into(), count, eval: None, at: Timestamp(2) };
    assert!(log.apply(scale(0)).is_err() && log.apply(scale(4)).is_err());
    log.ok(scale(3));
    assert_eq!((log.job().groups[0].count, log.job().version), (3, 1));
    log.ok(deregister(false));
    assert!(log.apply(scale(2)).is_err());
}

#[test]
fn a_failure_wakes_the_scheduler_once_per_entry_and_the_dead_stay_dead() {
    let mut log = Log::new();
    log.register(job());
    log.ok(place(alloc(7)));
    log.ok(place(alloc(8)));
    let report = |n: u128| AllocReport {
        id: alloc(n).id,
        client: ClientStatus::Failed,
        client_description: String::new(),
        tasks: BTreeMap::new(),
        checks: BTreeMap::new(),
        healthy: None,
    };
    log.ok(Command::AllocReports { reports: vec![report(7), report(8)], at: Timestamp(5) });
    assert_eq!(log.evals(), [Trigger::AllocFailure]);
    log.report(7, ClientStatus::Running, None);
    assert_eq!(log.0.allocs[&alloc(7).id].client, ClientStatus::Failed);
}

#[test]
fn a_replacement_beside_its_predecessor_wakes_the_scheduler_when_it_is_up() {
    let mut log = Log::new();
    log.register(job());
    log.ok(place(alloc(7)));
    log.ok(running(alloc(7).id));
    let mut beside = alloc(8);
    beside.previous = Some(alloc(7).id);
    log.ok(place(beside));
    assert_eq!(log.0.allocs[&alloc(7).id].next, Some(alloc(8).id));
    log.ok(running(alloc(8).id));
    assert_eq!(log.evals().len(), 1);
    log.ok(running(alloc(8).id));
    assert_eq!(log.evals().len(), 1, "nothing new, nothing to look at");
}

#[test]
fn a_deployment_counts_and_its_canaries_are_promoted_once_healthy() {
    let mut log = Log::new();
    let id = canary(&mut log);
    let group = |log: &Log| log.0.deployments[&id].groups["g"].clone();
    assert_eq!((group(&log).placed, group(&log).placed_canaries.len()), (1, 1));
    assert_eq!(group(&log).require_progress_by, Timestamp(3) + Duration::from_secs(60));
    let promote = |n| Command::DeploymentPromote { id, groups: Vec::new(), eval: eval(n), at: Timestamp(8) };
    let refused = log.apply(promote(1)).expect_err("not healthy yet");
    assert_eq!(refused.to_string(), "Task group \"g\" has 0/1 healthy allocations");
    log.report(7, ClientStatus::Running, Some(false));
    assert_eq!((group(&log).healthy, group(&log).unhealthy), (0, 1));
    log.report(7, ClientStatus::Running, Some(true));
    assert_eq!((group(&log).healthy, group(&log).unhealthy), (1, 0));
    log.ok(promote(2));
    assert!(group(&log).promoted && !log.0.allocs[&alloc(7).id].canary);
    assert!(log.apply(promote(3)).is_err(), "once is enough");
}

#[test]
fn a_deployment_that_is_over_stays_over() {
    let mut log = Log::new();
    let id = canary(&mut log);
    let fail = Command::DeploymentStatus {
        id,
        status: DeploymentStatus::Failed,
        description: "no".into(),
        revert: None,
        eval: None,
        at: Timestamp(8),
    };
    log.ok(fail.clone());
    assert!(log.apply(fail).is_err());
    // A plan made before the failure says that it succeeded.
    let mut plan = Plan::empty(eval(1).id, 50, Index(0));
    let status = DeploymentStatus::Successful;
    plan.deployment_changes.push(DeploymentChange { id, status, description: String::new() });
    log.ok(Command::Plans(vec![PlanResult { plan, evals: Vec::new(), at: Timestamp(9), leave_by: Timestamp(9) }]));
    assert_eq!(log.0.deployments[&id].status, DeploymentStatus::Failed);
    assert!(!log.job().stable);
    log.report(7, ClientStatus::Running, Some(true));
    assert_eq!(log.0.deployments[&id].groups["g"].healthy, 0);
}

#[test]
fn a_revert_is_a_new_version_in_the_same_entry() {
    let mut log = Log::new();
    let id = canary(&mut log);
    let old = log.job().clone();
    let mut next = job();
    next.priority = 60;
    log.register(next);
    log.ok(Command::DeploymentStatus {
        id,
        status: DeploymentStatus::Failed,
        description: "no".into(),
        revert: Some(Box::new(old)),
        eval: Some(eval(5)),
        at: Timestamp(8),
    });
    assert_eq!((log.job().version, log.job().priority), (2, 50));
    assert_eq!(log.evals().len(), 1);
}

#[test]
fn a_stop_keeps_its_first_reason() {
    let mut log = Log::new();
    log.register(job());
    log.ok(place(alloc(7)));
    log.ok(stop(alloc(7).id));
    let at = log.0.allocs[&alloc(7).id].alloc_modify_index;
    log.ok(stop(alloc(7).id));
    assert_eq!(log.0.allocs[&alloc(7).id].alloc_modify_index, at);
}

#[test]
fn a_node_wakes_the_jobs_it_concerns_and_only_when_something_changed() {
    let mut log = Log::new();
    log.register(job());
    log.ok(place(alloc(7)));
    let register = |n: crate::Node| Command::NodeRegister { node: Box::new(n), at: Timestamp(9) };
    let before = log.0.tables.nodes;
    log.ok(register(node()));
    assert_eq!((log.0.tables.nodes, log.evals().len()), (before, 0), "the same again");
    let mut busy = node();
    busy.resources.ports_in_use = vec![80];
    busy.attributes.insert("unique.storage.bytesfree".into(), "1".into());
    log.ok(register(busy.clone()));
    assert!(log.evals().is_empty() && log.0.tables.nodes > before);
    busy.attributes.insert("kernel.name".into(), "linux".into());
    log.ok(register(busy));
    assert_eq!(log.evals(), [Trigger::NodeUpdate]);
    log.ok(Command::NodeStatus {
        node: node().id,
        status: NodeStatus::Down,
        description: String::new(),
        at: Timestamp(10),
    });
    assert_eq!(log.evals().len(), 2);
}
