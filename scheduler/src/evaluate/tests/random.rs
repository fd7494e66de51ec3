//! Random jobs, nodes and failures, driven to a fixed point; what must hold is checked after every step.

use std::{collections::BTreeMap, time::Duration};

use model::{
    ClientStatus, Command, DeploymentStatus, Eligibility, EvalStatus, Job, JobKey, JobKind, NodeId, NodeStatus,
    Trigger, alloc::Transition, check::Verdict, job::Update, node::Drain, resource::Amount,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{
    leader::drain,
    place::usage::Usage,
    world::{World, batch, node, system, web},
};

const NODES: u128 = 4;

#[derive(Clone, Debug)]
enum Op {
    Run {
        job: u8,
        kind: u8,
        count: u32,
        memory: u64,
        fixed: bool,
        parallel: u32,
        canary: u32,
        mark: u8,
        revert: bool,
    },
    Scale {
        job: u8,
        count: u32,
    },
    Stop {
        job: u8,
        purge: bool,
    },
    NodeDown(u8),
    NodeUp(u8),
    Drain {
        node: u8,
        deadline: Option<u8>,
    },
    Undrain(u8),
    Fail(u8),
    Sick(u8),
    StopAlloc(u8),
    Promote,
    Clients,
    /// Reports of some clients only.
    SlowClients(u8),
    Pass(u16),
    Unblock,
}

fn op() -> impl Strategy<Value = Op> {
    let run = (0..3u8, 0..6u8, 0..6u32, 1..12u64, any::<bool>(), 0..4u32, 0..3u32, 0..3u8, any::<bool>());
    prop_oneof![
        4 => run.prop_map(|(job, kind, count, m, fixed, parallel, canary, mark, revert)| Op::Run {
            job, kind, count, memory: m * 150, fixed: fixed && m % 3 == 0, parallel, canary, mark, revert
        }),
        1 => (0..3u8, 0..7u32).prop_map(|(job, count)| Op::Scale { job, count }),
        1 => (0..3u8, any::<bool>()).prop_map(|(job, purge)| Op::Stop { job, purge }),
        1 => (0..4u8).prop_map(Op::NodeDown),
        2 => (0..4u8).prop_map(Op::NodeUp),
        1 => (0..4u8, proptest::option::of(0..60u8)).prop_map(|(node, deadline)| Op::Drain { node, deadline }),
        1 => (0..4u8).prop_map(Op::Undrain),
        2 => any::<u8>().prop_map(Op::Fail),
        1 => any::<u8>().prop_map(Op::Sick),
        1 => any::<u8>().prop_map(Op::StopAlloc),
        1 => Just(Op::Promote),
        8 => Just(Op::Clients),
        3 => any::<u8>().prop_map(Op::SlowClients),
        2 => (1..900u16).prop_map(Op::Pass),
        2 => Just(Op::Unblock),
    ]
}

fn job(n: u8, kind: u8) -> Job {
    let mut job = match kind {
        0 => batch(1),
        1 => system(),
        _ => web(1),
    };
    // A job's type is part of its name here: changing it is another test's subject.
    job.id = format!("job{n}-{}", job.kind).into();
    job.name = job.id.as_str().to_owned();
    job
}

struct Sim {
    w: World,
    draining: bool,
    /// How often each allocation was told to stop.
    stopped: BTreeMap<model::AllocId, String>,
}

impl Sim {
    fn node(n: u8) -> NodeId {
        NodeId(Uuid::from_u128(u128::from(n) + 1))
    }

    fn keys(&self) -> Vec<JobKey> {
        self.w.state.jobs.keys().cloned().collect()
    }

    fn pick(&self, n: u8) -> Option<model::AllocId> {
        let live: Vec<_> = self.w.state.allocs.values().filter(|a| !a.terminal()).map(|a| a.id).collect();
        (!live.is_empty()).then(|| live[usize::from(n) % live.len()])
    }

    fn step(&mut self, op: &Op) {
        let at = self.w.now;
        match op.clone() {
            run @ Op::Run { .. } => self.run(run),
            Op::Scale { job, count } => {
                let Some(key) = self.keys().into_iter().nth(job.into()) else { return };
                let j = self.w.state.jobs[&key].clone();
                if j.kind.per_node() {
                    return;
                }
                let eval = Some(self.w.eval_for(&j, Trigger::JobScaling));
                let scale = Command::JobScale { job: key, group: "g".into(), count, eval, at };
                assert_eq!(self.w.try_apply(scale).is_ok(), !j.stop);
            }
            Op::Stop { job, purge } => {
                let Some(key) = self.keys().into_iter().nth(job.into()) else { return };
                let j = self.w.state.jobs[&key].clone();
                let eval = Some(self.w.eval_for(&j, Trigger::JobDeregister));
                self.w.apply(Command::JobDeregister { job: key, purge, eval, at });
            }
            Op::NodeDown(n) => self.status(n, NodeStatus::Down),
            Op::NodeUp(n) => self.status(n, NodeStatus::Ready),
            Op::Drain { node, deadline } => {
                let deadline = deadline.map(|d| Duration::from_secs(d.into()));
                let drain =
                    Drain { deadline, ignore_system_jobs: false, started_at: at, force_at: deadline.map(|d| at + d) };
                self.w.apply(Command::NodeDrain {
                    node: Self::node(node),
                    drain: Some(drain),
                    mark_eligible: false,
                    at,
                });
            }
            Op::Undrain(n) => {
                self.w.apply(Command::NodeDrain { node: Self::node(n), drain: None, mark_eligible: true, at });
            }
            Op::Fail(n) => {
                if let Some(id) = self.pick(n) {
                    self.w.report(id, ClientStatus::Failed, Some(false), Verdict::Critical);
                }
            }
            Op::Sick(n) => {
                let id = self.pick(n).filter(|id| self.w.state.allocs[id].deployment.is_some());
                if let Some(id) = id {
                    self.w.report(id, ClientStatus::Running, Some(false), Verdict::Critical);
                }
            }
            Op::StopAlloc(n) => {
                let Some(id) = self.pick(n) else { return };
                let key = self.w.state.allocs[&id].job.clone();
                let Some(j) = self.w.state.jobs.get(&key).cloned() else { return };
                let evals = vec![self.w.eval_for(&j, Trigger::AllocStop)];
                let transitions = [(id, Transition { migrate: true, ..Transition::default() })].into();
                self.w.apply(Command::AllocTransitions { transitions, evals, at });
            }
            Op::Promote => self.promote(),
            Op::Clients => self.w.clients(),
            Op::SlowClients(mask) => self.slow_clients(mask),
            Op::Pass(secs) => self.w.pass(Duration::from_secs(secs.into())),
            Op::Unblock => self.w.unblock(),
        }
        self.drains();
        self.w.work();
        self.check();
    }

    fn run(&mut self, op: Op) {
        let Op::Run { job: n, kind, count, memory, fixed, parallel, canary, mark, revert } = op else { return };
        let mut j = job(n, kind);
        let group = &mut j.groups[0];
        group.count = if j.kind.per_node() { 1 } else { count };
        group.tasks[0].resources.memory_mb = memory;
        group.tasks[0].env.insert("MARK".into(), mark.to_string());
        if fixed && !group.networks.is_empty() {
            group.networks[0].ports[0].fixed = Some(8000 + u16::from(n));
        }
        if j.kind == JobKind::Service {
            group.update = Some(Update { max_parallel: parallel, canary, auto_revert: revert, ..Update::default() });
        }
        self.w.submit(j);
    }

    fn status(&mut self, n: u8, status: NodeStatus) {
        let at = self.w.now;
        self.w.apply(Command::NodeStatus { node: Self::node(n), status, description: String::new(), at });
    }

    fn promote(&mut self) {
        let waiting: Vec<_> =
            self.w.state.deployments.values().filter(|d| d.status.active() && d.awaits_promotion()).cloned().collect();
        for d in waiting {
            let Some(j) = self.w.state.jobs.get(&d.job).cloned() else { continue };
            let (eval, at) = (self.w.eval_for(&j, Trigger::DeploymentWatcher), self.w.now);
            // Refused while canaries are not healthy: that is the rule, not a failure of this test.
            self.w.try_apply(Command::DeploymentPromote { id: d.id, groups: Vec::new(), eval, at }).ok();
        }
    }

    fn slow_clients(&mut self, mask: u8) {
        let all: Vec<_> = self.w.state.allocs.values().cloned().collect();
        for (n, a) in all.iter().enumerate().filter(|(n, _)| mask & (1 << (n % 8)) != 0) {
            let next = match a.client {
                _ if a.server_terminal() && !a.client.terminal() => ClientStatus::Complete,
                ClientStatus::Pending if n % 2 == 0 && !self.w.waits_for_predecessor(a) => ClientStatus::Running,
                _ => continue,
            };
            self.w.report(a.id, next, None, Verdict::Passing);
        }
    }

    fn drains(&mut self) {
        let draining = self.w.state.nodes.values().filter(|n| n.drain.is_some()).map(|n| n.id).collect();
        let mut ids = self.w.ids;
        let commands = drain::decide(&self.w.state, &draining, self.w.now, self.draining, || {
            ids += 1;
            model::EvalId(Uuid::from_u128(ids))
        });
        self.w.ids = ids;
        for c in commands {
            self.w.apply(c);
        }
        self.draining = true;
    }

    /// What must hold at every moment.
    fn check(&mut self) {
        let state = &self.w.state;
        for n in state.nodes.values() {
            let usage = Usage::of(state, n.id);
            let has = n.resources.total;
            assert!(
                usage.amount.memory_mb <= has.memory_mb && usage.amount.cpu_mhz <= has.cpu_mhz,
                "node {} is over capacity: {:?}",
                n.name,
                usage.amount
            );
            for (port, holders) in &usage.ports {
                let working = holders.iter().filter(|id| !self.w.waits_for_predecessor(&state.allocs[*id])).count();
                assert!(working <= 1, "port {port} on {} is held by {holders:?}", n.name);
            }
        }
        for a in state.allocs.values() {
            if let Some(why) = self.stopped.get(&a.id) {
                assert!(a.server_terminal() && a.desired_description == *why, "{} was stopped before", a.id);
            } else if a.server_terminal() {
                self.stopped.insert(a.id, a.desired_description.clone());
            }
        }
        for j in state.jobs.values() {
            self.check_job(j);
        }
    }

    fn check_job(&self, job: &Job) {
        let live = self.w.live(job.id.as_str());
        assert!(!job.stop || live.is_empty(), "stopped stays stopped");
        if job.kind.per_node() {
            let mut nodes: Vec<_> = live.iter().map(|a| a.node).collect();
            nodes.sort_unstable();
            nodes.dedup();
            assert_eq!(nodes.len(), live.len(), "one per node");
            return;
        }
        let group = &job.groups[0];
        let Some(update) = group.update.as_ref().filter(|u| u.max_parallel > 0) else { return };
        let young = |a: &&model::Alloc| a.job_version == job.version && !a.healthy() && !a.canary;
        let doubled = live
            .iter()
            .filter(young)
            .filter(|a| live.iter().any(|b| b.slot == a.slot && b.job_version != job.version && !b.transition.migrate))
            .count();
        assert!(doubled <= update.max_parallel as usize, "{doubled} replacements in flight");
        let canaries = live.iter().filter(|a| a.canary).count();
        assert!(canaries <= update.canary as usize, "{canaries} canaries");
    }

    /// Everything is mended and every job submitted once more: it must come to rest where the jobs want it.
    fn finish(&mut self) {
        let at = self.w.now;
        for n in 0..u8::try_from(NODES).expect("few") {
            self.status(n, NodeStatus::Ready);
            self.w.apply(Command::NodeDrain { node: Self::node(n), drain: None, mark_eligible: true, at });
            self.w.apply(Command::NodeEligibility { node: Self::node(n), eligibility: Eligibility::Eligible, at });
        }
        for key in self.keys() {
            let mut j = Job::clone(&self.w.state.jobs[&key]);
            if j.stop {
                continue;
            }
            j.groups[0].tasks[0].env.insert("MARK".into(), "last".into());
            self.w.submit(j);
        }
        self.w.work();
        for _ in 0..20 {
            self.w.settle();
            self.promote();
            self.w.work();
            self.w.pass(Duration::from_secs(60));
            self.check();
        }
        self.w.settle();
        for key in self.keys() {
            self.check_rest(&key);
        }
    }

    /// A job's allocations and evaluations, one per line.
    fn picture(&self, key: &JobKey) -> String {
        let state = &self.w.state;
        let allocs = state.allocs_of_job(key).map(|a| {
            format!(
                "{} v{} slot {} {:?}/{:?} on {} canary {} health {:?} deployment {:?} previous {:?}\n",
                a.id.short(),
                a.job_version,
                a.slot,
                a.desired,
                a.client,
                a.node_name,
                a.canary,
                a.health.map(|h| h.healthy),
                a.deployment.map(|d| d.short()),
                a.previous.map(|p| p.short()),
            )
        });
        let evals = state.evals_of_job(key).filter(|e| !e.status.terminal());
        let evals = evals.map(|e| format!("{:?} {:?} {:?}\n", e.trigger, e.status, e.failed_groups.keys()));
        let deployments =
            state.deployments_of_job(key).map(|d| format!("{} {:?} {}\n", d.id.short(), d.status, d.description));
        format!("job v{} now {:?}\n", state.jobs[key].version, self.w.now)
            + &allocs.chain(evals).chain(deployments).collect::<String>()
    }

    fn check_rest(&self, key: &JobKey) {
        let state = &self.w.state;
        let job = &state.jobs[key];
        let live = self.w.live(key.id.as_str());
        let evals: Vec<_> = state.evals_of_job(key).filter(|e| !e.status.terminal()).collect();
        if evals.iter().any(|e| e.status == EvalStatus::Blocked) {
            // Too big, or a static port for more instances than nodes: it waits, and says so.
            return;
        }
        let failed = state.latest_deployment(key).is_some_and(|d| d.status == DeploymentStatus::Failed);
        if failed && state.evals_of_job(key).any(|e| !e.failed_groups.is_empty()) {
            // It waited for room until its progress deadline.
            return;
        }
        let wanted = match job.kind {
            _ if job.stop => 0,
            JobKind::Batch => job.groups[0].count as usize,
            k if k.per_node() => state.nodes.len(),
            _ => job.groups[0].count as usize,
        };
        assert_eq!(live.len(), wanted, "{key:?} came to rest with {}", self.picture(key));
        assert!(live.iter().all(|a| a.job_version == job.version), "{key:?}: all of the last version");
        let d = state.latest_deployment(key).filter(|d| d.job_version == job.version);
        if let Some(d) = d.filter(|_| !job.stop) {
            assert_eq!(d.status, DeploymentStatus::Successful, "{d:#?}");
        }
    }
}

fn world() -> World {
    let mut w = World::new(0);
    for n in 1..=NODES {
        let mut node = node(n);
        node.resources.total = Amount { cpu_mhz: 2000, memory_mb: 4000, disk_mb: 20_000 };
        w.add(node);
    }
    w
}

/// A few seconds' worth of cases; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96);
    ProptestConfig { cases, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_it_converges(ops in proptest::collection::vec(op(), 1..40)) {
        let mut sim = Sim { w: world(), draining: false, stopped: BTreeMap::new() };
        for op in &ops {
            sim.step(op);
        }
        sim.finish();
    }
}
