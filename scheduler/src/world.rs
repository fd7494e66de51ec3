//! A small world for tests: nodes, clients that do as they are told, and evaluations worked on one after the other.

use std::{collections::BTreeMap, time::Duration};

use model::{
    Alloc, AllocId, ClientStatus, Command, Eval, EvalId, EvalStatus, Group, Index, Job, JobKey, Node, NodeId,
    NodeStatus, State, Task, Timestamp, Trigger,
    alloc::{AllocReport, CheckState, TaskPhase, TaskState},
    check::Verdict,
    command::Applied,
    job::Update,
    node::DriverInfo,
    resource::{Amount, Network, NodeResources, PortRequest, TaskResources},
    service::{CheckSpec, Probe, Service},
    state::derive,
};
use uuid::Uuid;

use crate::{
    evaluate::{Evaluated, evaluate},
    leader::{deployments, plan_applier},
};

pub fn node(n: u128) -> Node {
    let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
    Node {
        id: NodeId(Uuid::from_u128(n)),
        name: format!("n{n}"),
        status: NodeStatus::Ready,
        drivers: BTreeMap::from([("mock_driver".to_owned(), driver)]),
        resources: NodeResources {
            total: Amount { cpu_mhz: 4000, memory_mb: 4096, disk_mb: 100_000 },
            cores: 4,
            ..NodeResources::default()
        },
        ..Node::default()
    }
}

/// A service job with one group `g`, one dynamic port and a checked service.
pub fn web(count: u32) -> Job {
    let check = CheckSpec {
        name: String::new(),
        probe: Probe::Tcp,
        port: String::new(),
        address_mode: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        initial: None,
        success_before_passing: 0,
        failures_before_critical: 0,
        failures_before_warning: 0,
        task: None,
        on_update: None,
        restart: None,
    };
    let service = Service { name: "web".into(), port: "http".into(), checks: vec![check], ..Service::default() };
    let port = PortRequest { label: "http".into(), ..PortRequest::default() };
    let task = Task {
        name: "t".into(),
        driver: "mock_driver".into(),
        resources: TaskResources { cpu_mhz: 100, memory_mb: 100, ..TaskResources::default() },
        ..Task::default()
    };
    let group = Group {
        name: "g".into(),
        count,
        tasks: vec![task],
        services: vec![service],
        networks: vec![Network { ports: vec![port], ..Network::default() }],
        update: Some(Update { max_parallel: 1, ..Update::default() }),
        ..Group::default()
    };
    Job { id: "web".into(), name: "web".into(), groups: vec![group], ..Job::default() }
}

/// A batch job with one group `g`.
pub fn batch(count: u32) -> Job {
    let mut job = web(count);
    job.kind = model::JobKind::Batch;
    job.id = "batch".into();
    job.name = "batch".into();
    let group = &mut job.groups[0];
    group.services.clear();
    group.networks.clear();
    group.update = None;
    group.reschedule = model::job::ReschedulePolicy::of(job.kind);
    job
}

/// A system job with one group `g`.
pub fn system() -> Job {
    let mut job = batch(1);
    job.kind = model::JobKind::System;
    job.id = "system".into();
    job.name = "system".into();
    job.groups[0].reschedule = model::job::ReschedulePolicy::of(job.kind);
    job
}

/// Change a job so that its tasks must be replaced.
pub fn changed(mut job: Job, mark: &str) -> Job {
    job.groups[0].tasks[0].env.insert("MARK".into(), mark.into());
    job
}

pub struct World {
    pub state: State,
    pub now: Timestamp,
    pub ids: u128,
    /// Violations of what must hold after every plan.
    pub checked_plans: usize,
}

impl World {
    pub fn new(nodes: u128) -> Self {
        let mut w = Self { state: State::default(), now: Timestamp::from_secs(1_000_000), ids: 1000, checked_plans: 0 };
        for n in 1..=nodes {
            w.add(node(n));
        }
        w
    }

    pub fn try_apply(&mut self, command: Command) -> Result<Applied, model::Rejected> {
        let index = Index(self.state.index.0 + 1);
        self.state.apply(index, command).reply
    }

    pub fn apply(&mut self, command: Command) {
        self.try_apply(command).expect("applies");
    }

    pub fn add(&mut self, node: Node) {
        let at = self.now;
        self.apply(Command::NodeRegister { node: Box::new(node), at });
    }

    pub fn id(&mut self) -> EvalId {
        self.ids += 1;
        EvalId(Uuid::from_u128(self.ids))
    }

    pub fn eval_for(&mut self, job: &Job, trigger: Trigger) -> Eval {
        Eval::pending(self.id(), job.key(), job.kind, job.priority, trigger, self.now)
    }

    pub fn submit(&mut self, job: Job) {
        let eval = self.eval_for(&job, Trigger::JobRegister);
        let at = self.now;
        self.apply(Command::JobRegister { job: Box::new(job), eval: Some(eval), enforce_index: None, at });
    }

    /// Register and work until nothing is pending.
    pub fn run(&mut self, job: Job) {
        self.submit(job);
        self.work();
    }

    pub fn stop(&mut self, key: &JobKey, purge: bool) {
        let job = self.state.job(key).expect("exists").clone();
        let eval = Some(self.eval_for(&job, Trigger::JobDeregister));
        let at = self.now;
        self.apply(Command::JobDeregister { job: key.clone(), purge, eval, at });
        self.work();
    }

    fn next_eval(&self) -> Option<Eval> {
        let due = |e: &&std::sync::Arc<Eval>| e.status == EvalStatus::Pending && e.wait_until <= self.now;
        self.state.evals.values().filter(due).min_by_key(|e| (e.create_index, e.id)).map(|e| Eval::clone(e))
    }

    pub fn evaluate(&self, eval: &Eval) -> Evaluated {
        evaluate(&self.state, eval, self.now)
    }

    /// Work on one evaluation as the leader does.
    pub fn work_on(&mut self, eval: &Eval) {
        let work = self.evaluate(eval);
        let (result, trimmed) = plan_applier::check(&self.state, work, self.now);
        assert!(!trimmed, "a plan made on the newest state fits it");
        self.apply(Command::Plans(vec![result]));
        self.checked_plans += 1;
    }

    /// Work on everything that is due; deployments are watched in between.
    pub fn work(&mut self) {
        for _ in 0..1000 {
            if let Some(eval) = self.next_eval() {
                self.work_on(&eval);
            } else if !self.watch() {
                return;
            }
        }
        panic!("evaluations breed evaluations");
    }

    /// Look again at blocked evaluations, as after a change of capacity.
    pub fn unblock(&mut self) {
        let blocked: Vec<_> =
            self.state.evals.values().filter(|e| e.status == EvalStatus::Blocked).map(|e| Eval::clone(e)).collect();
        for eval in blocked {
            self.work_on(&eval);
        }
        self.work();
    }

    fn watch(&mut self) -> bool {
        let active: Vec<_> = self.state.deployments.values().filter(|d| d.status.active()).cloned().collect();
        for d in active {
            let id = self.id();
            if let Some(command) = deployments::decide(&self.state, &d, id, self.now) {
                self.apply(command);
                return true;
            }
        }
        false
    }

    pub fn pass(&mut self, d: Duration) {
        self.now = self.now + d;
    }

    /// A client's report about one allocation.
    pub fn report(&mut self, id: AllocId, client: ClientStatus, healthy: Option<bool>, checks: Verdict) {
        let Some(alloc) = self.state.allocs.get(&id).cloned() else { return };
        let (job, node) = (self.state.job_of(&alloc).cloned(), self.state.nodes.get(&alloc.node).cloned());
        let (Some(job), Some(node)) = (job, node) else { return };
        let phase = match client {
            ClientStatus::Running => TaskPhase::Running,
            ClientStatus::Pending => TaskPhase::Pending,
            _ => TaskPhase::Dead,
        };
        let state = TaskState {
            phase,
            failed: client == ClientStatus::Failed,
            finished_at: if phase == TaskPhase::Dead { self.now } else { Timestamp::ZERO },
            ..TaskState::default()
        };
        let group = job.group(&alloc.group).expect("has its group");
        let tasks = group.tasks.iter().map(|t| (t.name.clone(), state.clone())).collect();
        let check = CheckState { verdict: checks, output: String::new(), at: self.now };
        let checks = derive::templates(&job, &alloc, &node)
            .into_iter()
            .flat_map(|t| t.instance.checks.into_keys())
            .map(|id| (id, check.clone()))
            .collect();
        let report = AllocReport { id, client, client_description: String::new(), tasks, checks, healthy };
        let at = self.now;
        self.apply(Command::AllocReports { reports: vec![report], at });
    }

    /// One round of every client: stop what is to stop, start what waits, and call it healthy.
    pub fn clients(&mut self) {
        let all: Vec<_> = self.state.allocs.values().cloned().collect();
        for a in all.iter().filter(|a| a.server_terminal() && !a.client.terminal()) {
            self.report(a.id, ClientStatus::Complete, None, Verdict::Critical);
        }
        for a in all.iter().filter(|a| !a.terminal()) {
            if a.client == ClientStatus::Pending && !self.waits_for_predecessor(a) {
                self.report(a.id, ClientStatus::Running, None, Verdict::Passing);
            }
            if a.client == ClientStatus::Running && a.health.is_none() && a.deployment.is_some() {
                self.report(a.id, ClientStatus::Running, Some(true), Verdict::Passing);
            }
        }
        self.work();
    }

    pub fn waits_for_predecessor(&self, a: &Alloc) -> bool {
        crate::place::usage::waits(&self.state, a)
    }

    /// Let clients and servers go on until nothing changes any more.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.state.allocs.clone();
            self.clients();
            self.unblock();
            if before == self.state.allocs {
                return;
            }
        }
        panic!("does not settle");
    }

    /// Allocations the servers want and the clients have not ended.
    pub fn live(&self, job: &str) -> Vec<Alloc> {
        let key = JobKey::new("default", job);
        let mut all: Vec<_> =
            self.state.allocs_of_job(&key).filter(|a| !a.terminal()).map(|a| Alloc::clone(a)).collect();
        all.sort_by_key(|a| (a.slot, a.create_index, a.id));
        all
    }

    pub fn key(&self, job: &str) -> JobKey {
        JobKey::new("default", job)
    }
}
