//! The client as a whole, against a state in memory.

use std::{path::Path, sync::Arc, time::Duration};

use model::{
    Alloc, AllocId, ClientStatus, Command, Desired, EvalId, Group, Index, Job, NodeId, Plan, Replica, State, Task,
    TaskName, Timestamp,
    alloc::TaskPhase,
    driver_config::Value,
    job::{RestartMode, RestartPolicy},
    plan::{PlanResult, StopAlloc},
    replica::local::LocalReplica,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Client, Config, Handle};
use crate::driver::shim;

/// A client and the state it follows.
pub struct World {
    pub replica: Arc<LocalReplica>,
    pub dir: tempfile::TempDir,
    pub client: Handle,
    cancel: CancellationToken,
}

pub fn config(dir: &Path) -> Config {
    Config {
        node_name: "n1".into(),
        data_dir: dir.to_owned(),
        dev: true,
        raw_exec_enabled: true,
        mock_enabled: true,
        shim: shim::tests::command(),
        docker: super::config::DockerConfig { enabled: false, ..Default::default() },
        ..Config::default()
    }
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let replica = Arc::new(LocalReplica::new(State::default()));
        Self::begin(replica, dir).await
    }

    async fn begin(replica: Arc<LocalReplica>, dir: tempfile::TempDir) -> Self {
        let cancel = CancellationToken::new();
        let client =
            Client::start(config(dir.path()), Arc::clone(&replica) as _, cancel.clone()).await.expect("starts");
        Self { replica, dir, client, cancel }
    }

    /// The agent is gone and another one comes; tasks were not told.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    pub async fn restart_with(self, between: impl FnOnce(&Path)) -> Self {
        self.cancel.cancel();
        self.client.join().await;
        let Self { replica, dir, client, .. } = self;
        drop(client);
        between(dir.path());
        Self::begin(replica, dir).await
    }

    pub fn alloc(&self, id: AllocId) -> Arc<Alloc> {
        Arc::clone(&self.replica.snapshot().allocs[&id])
    }

    pub async fn until(&self, what: &str, id: AllocId, check: impl Fn(&Alloc) -> bool) -> Arc<Alloc> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let alloc = self.alloc(id);
            if check(&alloc) {
                return alloc;
            }
            assert!(tokio::time::Instant::now() < deadline, "not {what} in time: {alloc:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn place(&self, job: Job, n: u128) -> AllocId {
        self.place_with(job, n, |_| {})
    }

    pub fn place_with(&self, job: Job, n: u128, change: impl FnOnce(&mut Alloc)) -> AllocId {
        let (key, group) = (job.key(), job.groups[0].name.clone());
        self.replica
            .apply(Command::JobRegister { job: Box::new(job), eval: None, enforce_index: None, at: Timestamp(1) })
            .expect("registers");
        let version = self.replica.snapshot().jobs[&key].version;
        let mut alloc = alloc(n, self.client.node_id(), key, group.as_str(), version);
        change(&mut alloc);
        let id = alloc.id;
        let mut plan = Plan::empty(alloc.eval, 50, Index(0));
        plan.places.push(alloc);
        self.plan(plan);
        id
    }

    pub fn plan(&self, plan: Plan) {
        let result = PlanResult { plan, evals: Vec::new(), at: super::clock::now(), leave_by: Timestamp(u64::MAX) };
        self.replica.apply(Command::Plans(vec![result])).expect("applies");
    }

    pub fn stop(&self, id: AllocId) {
        let mut plan = Plan::empty(EvalId(Uuid::from_u128(9)), 50, Index(0));
        let description = "alloc not needed".to_owned();
        plan.stops.push(StopAlloc { id, desired: Desired::Stop, description, client: None, followup_eval: None });
        self.plan(plan);
    }

    pub fn log(&self, id: AllocId, name: &str) -> String {
        let path = self.dir.path().join("alloc").join(id.to_string()).join("alloc/logs").join(name);
        std::fs::read_to_string(path).unwrap_or_default()
    }

    pub async fn end(self) {
        self.client.stop_all_tasks().await;
        self.cancel.cancel();
        self.client.join().await;
    }
}

pub fn alloc(n: u128, node: NodeId, job: model::JobKey, group: &str, job_version: u64) -> Alloc {
    let node = model::Node { id: node, name: "n1".into(), ..model::Node::default() };
    let job = model::Job { id: job.id, namespace: job.namespace, version: job_version, ..model::Job::default() };
    let id = AllocId(Uuid::from_u128(n << 96 | n));
    Alloc::placed(id, EvalId(Uuid::from_u128(9)), &node, &job, &group.into(), 0)
}

pub fn text(s: &str) -> Value {
    Value::Str(s.into())
}

pub fn sh(script: &str) -> Task {
    let config =
        [("command".to_owned(), text("/bin/sh")), ("args".to_owned(), Value::List(vec![text("-c"), text(script)]))];
    Task { name: "t".into(), driver: "raw_exec".into(), config: Value::Map(config.into()), ..Task::default() }
}

pub fn job(name: &str, tasks: Vec<Task>) -> Job {
    let restart = RestartPolicy {
        attempts: 1,
        interval: Duration::from_secs(60),
        delay: Duration::from_millis(10),
        mode: RestartMode::Fail,
    };
    let group = Group { name: "g".into(), tasks, restart, ..Group::default() };
    Job { id: name.into(), name: name.into(), groups: vec![group], ..Job::default() }
}

fn running(a: &Alloc) -> bool {
    a.client == ClientStatus::Running
}

fn state<'a>(a: &'a Alloc, task: &str) -> &'a model::alloc::TaskState {
    &a.tasks[&TaskName::from(task)]
}

fn kinds(a: &Alloc, task: &str) -> Vec<String> {
    state(a, task).events.iter().map(|e| e.kind.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_and_is_stopped() {
    let w = World::new().await;
    let id = w.place(job("j", vec![sh("echo hello $NOMAD_TASK_NAME ${NOMAD_ALLOC_INDEX}; exec sleep 300")]), 1);
    w.until("running", id, running).await;
    w.stop(id);
    let a = w.until("complete", id, |a| a.client.terminal()).await;
    assert_eq!(a.client, ClientStatus::Complete);
    assert_eq!(state(&a, "t").phase, TaskPhase::Dead);
    assert_eq!(kinds(&a, "t"), ["Received", "Task Setup", "Started", "Killing", "Terminated", "Killed"]);
    assert_eq!(w.log(id, "t.stdout.0"), "hello t 0\n");
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_restart_and_then_fail() {
    let w = World::new().await;
    let id = w.place(job("j", vec![sh("exit 3")]), 2);
    let a = w.until("failed", id, |a| a.client.terminal()).await;
    assert_eq!(a.client, ClientStatus::Failed);
    assert_eq!(state(&a, "t").restarts, 1);
    let last = state(&a, "t").events.last().expect("an event");
    assert_eq!(last.kind, "Not Restarting");
    assert!(last.message.starts_with("Exceeded allowed attempts 1 in interval 1m0s"));
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_command_says_so() {
    let w = World::new().await;
    let mut task = sh("");
    task.config = Value::Map([("command".to_owned(), text("no-such-thing"))].into());
    let id = w.place(job("j", vec![task]), 3);
    let a = w.until("failed", id, |a| a.client.terminal()).await;
    let failure = state(&a, "t").events.iter().find(|e| e.kind == "Driver Failure").expect("an event");
    assert!(failure.message.contains("\"no-such-thing\" was not found"), "{}", failure.message);
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_outlive_the_agent() {
    let w = World::new().await;
    let id = w.place(job("j", vec![sh("echo $$ >> $NOMAD_ALLOC_DIR/data/pids; exec sleep 300")]), 4);
    let before = w.until("running", id, running).await;
    let pids = w.dir.path().join("alloc").join(id.to_string()).join("alloc/data/pids");
    let w = w.restart().await;
    tokio::time::timeout(Duration::from_secs(10), async {
        while w.client.runners.shared(id).is_none_or(|s| s.handles().is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("is taken up again");
    let a = w.alloc(id);
    assert!(running(&a));
    assert_eq!(state(&a, "t").started_at, state(&before, "t").started_at);
    assert_eq!(std::fs::read_to_string(&pids).expect("reads").lines().count(), 1);
    w.stop(id);
    w.until("complete", id, |a| a.client == ClientStatus::Complete).await;
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_survive_the_loss_of_the_journal() {
    let w = World::new().await;
    let id = w.place(job("j", vec![sh("echo x >> $NOMAD_ALLOC_DIR/data/runs; exec sleep 300")]), 5);
    w.until("running", id, running).await;
    let runs = w.dir.path().join("alloc").join(id.to_string()).join("alloc/data/runs");
    let w = w
        .restart_with(|dir| {
            let journal = dir.join("client/journal");
            std::fs::remove_dir_all(&journal).expect("removes");
            std::fs::create_dir_all(&journal).expect("creates");
            std::fs::write(journal.join("conf"), "broken").expect("writes");
            std::fs::write(journal.join("db"), vec![0xff; 4096]).expect("writes");
        })
        .await;
    let a = w.until("found again", id, |a| kinds(a, "t").last().is_some_and(|k| k == "Task Setup")).await;
    assert!(running(&a));
    w.client.restart(id, None).await.expect("restarts");
    w.until("running again", id, |a| {
        running(a) && state(a, "t").restarts == 1 && state(a, "t").phase == TaskPhase::Running
    })
    .await;
    assert_eq!(std::fs::read_to_string(&runs).expect("reads").lines().count(), 2);
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_no_agent_was_there_is_reported() {
    let w = World::new().await;
    let script = "while [ ! -e $NOMAD_ALLOC_DIR/data/go ]; do sleep 0.02; done; exit 0";
    let mut j = job("j", vec![sh(script)]);
    j.kind = model::JobKind::Batch;
    let id = w.place(j, 6);
    w.until("running", id, running).await;
    let go = w.dir.path().join("alloc").join(id.to_string()).join("alloc/data/go");
    let runs = w.dir.path().canonicalize().expect("there").join("client/runs");
    let w = w
        .restart_with(|_| {
            std::fs::write(&go, "").expect("writes");
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            let exit = || walk(&runs).iter().any(|p| p.ends_with("exit.json"));
            while !exit() {
                assert!(std::time::Instant::now() < deadline, "the task did not end");
                std::thread::sleep(Duration::from_millis(10));
            }
        })
        .await;
    let a = w.until("complete", id, |a| a.client.terminal()).await;
    assert_eq!(a.client, ClientStatus::Complete);
    assert_eq!(state(&a, "t").restarts, 0);
    w.end().await;
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for e in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if e.path().is_dir() {
            out.extend(walk(&e.path()));
        } else {
            out.push(e.path());
        }
    }
    out
}

fn with_service(mut task: Task, port: u16) -> Task {
    use model::service::{CheckSpec, Probe, Service};
    let check = CheckSpec {
        name: "up".into(),
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
    task.services =
        vec![Service { name: "web".into(), port: port.to_string(), checks: vec![check], ..Service::default() }];
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_and_health_are_reported_and_kept_over_a_restart_of_the_agent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let w = World::new().await;
    let mut j = job("j", vec![with_service(sh("exec sleep 300"), port)]);
    j.groups[0].migrate.min_healthy_time = Duration::from_millis(50);
    let id = w.place(j, 7);
    let passing = |a: &Alloc| a.checks.values().any(|c| c.verdict == model::check::Verdict::Passing);
    w.until("passing", id, passing).await;
    w.until("healthy", id, Alloc::healthy).await;
    assert_eq!(w.replica.snapshot().service("web").map(|s| s.instances.len()), Some(1));
    let w = w.restart().await;
    // Every state on the way has the instance: routes must not flicker while an agent is upgraded.
    let watch = Arc::clone(&w.replica);
    let mut applied = watch.waiters().applied();
    let flicker = async {
        loop {
            let state = watch.snapshot();
            let alloc = &state.allocs[&id];
            assert!(passing(alloc) && running(alloc), "{alloc:#?}");
            applied.changed().await.expect("goes on");
        }
    };
    let taken_up = async {
        while w.client.runners.shared(id).is_none_or(|s| s.handles().is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        () = flicker => {}
        () = taken_up => {}
    }
    w.client.restart(id, None).await.expect("restarts");
    w.until("passing again", id, |a| passing(a) && state(a, "t").restarts == 1).await;
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_signalled_only_when_load_balancers_have_let_go() {
    let w = World::new().await;
    let lb = model::LbId(Uuid::from_u128(77));
    w.replica.apply(Command::LbRegister { id: lb, node: "n1".into() }).expect("registers");
    let id = w.place(job("j", vec![with_service(sh("exec sleep 300"), 1)]), 8);
    w.until("running", id, running).await;
    w.stop(id);
    assert!(w.alloc(id).leaving.as_ref().is_some_and(|l| l.awaiting.contains(&lb)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let a = w.alloc(id);
    assert!(running(&a) && kinds(&a, "t").last().is_some_and(|k| k == "Started"), "still untouched: {a:#?}");
    w.replica.apply(Command::LbDrained { id: lb, allocs: vec![id] }).expect("drains");
    w.until("complete", id, |a| a.client == ClientStatus::Complete).await;
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_in_their_order() {
    use model::job::{Hook, Lifecycle};
    let w = World::new().await;
    let named = |name: &str, script: &str, hook: Option<(Hook, bool)>| Task {
        name: name.into(),
        lifecycle: hook.map(|(hook, sidecar)| Lifecycle { hook, sidecar }),
        ..sh(&format!("echo {name} >> $NOMAD_ALLOC_DIR/data/order; {script}"))
    };
    let mut j = job(
        "j",
        vec![
            named("clean", "exit 0", Some((Hook::Poststop, false))),
            named("main", "sleep 0.2; exit 0", None),
            named("side", "exec sleep 300", Some((Hook::Poststart, true))),
            named("init", "exit 0", Some((Hook::Prestart, false))),
        ],
    );
    j.kind = model::JobKind::Batch;
    let id = w.place(j, 9);
    let a = w.until("over", id, |a| a.client.terminal()).await;
    assert_eq!(a.client, ClientStatus::Complete, "{a:#?}");
    let order = w.dir.path().join("alloc").join(id.to_string()).join("alloc/data/order");
    assert_eq!(std::fs::read_to_string(order).expect("reads"), "init\nmain\nside\nclean\n");
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_waited_for_until_the_leaving_allocation_lets_go_of_it() {
    let w = World::new().await;
    let port = |a: &mut Alloc| {
        a.resources.ports.push(model::resource::PortMapping {
            label: "http".into(),
            value: 18_080,
            to: 18_080,
            host_ip: "127.0.0.1".into(),
            task: None,
        });
    };
    let mut deaf = sh("trap '' INT; while :; do sleep 0.05; done");
    deaf.kill_timeout = Duration::from_millis(400);
    let old = w.place_with(job("old", vec![deaf]), 10, port);
    w.until("running", old, running).await;
    w.stop(old);
    let new = w.place_with(job("new", vec![sh("exec sleep 300")]), 11, port);
    w.until("running", new, |a| {
        assert!(a.client == ClientStatus::Pending || w.alloc(old).client.terminal(), "started too early");
        running(a)
    })
    .await;
    w.end().await;
}
