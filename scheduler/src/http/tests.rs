//! The router as clients see it: status, headers and body of every route, over a replica in memory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use model::{
    Alloc, AllocId, ClientStatus, Command, Deployment, DeploymentId, Eval, EvalId, EvalStatus, Group, Index, Job,
    JobKind, Node, NodeId, NodeStatus, Plan, State, Task, Timestamp, Trigger,
    alloc::{AllocReport, TaskEvent, TaskPhase, TaskState},
    deployment::{DeploymentStatus, GroupRollout},
    plan::PlanResult,
    replica::local::LocalReplica,
    resource::{GivenResources, GivenTask, Network, PortMapping, PortRequest},
    service::Service,
};
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

use super::{AgentInfo, Api, Health, Member, router};

mod blocking;
mod cluster;
mod errors;
mod register;
mod work;

pub const NODE: &str = "00000000-0000-0000-0000-000000000001";
pub const EVAL: &str = "00000000-0000-0000-0000-000000000009";
pub const DEPLOYMENT: &str = "00000000-0000-0000-0000-00000000000d";

struct Fake;

impl AgentInfo for Fake {
    fn name(&self) -> String {
        "n1".into()
    }
    fn region(&self) -> String {
        "global".into()
    }
    fn datacenter(&self) -> String {
        "dc1".into()
    }
    fn version(&self) -> String {
        "0.1.0".into()
    }
    fn node_id(&self) -> Option<NodeId> {
        Some(node().id)
    }
    fn config(&self) -> Value {
        serde_json::json!({ "BindAddr": "127.0.0.1" })
    }
    fn stats(&self) -> Value {
        serde_json::json!({ "runtime": { "cpu_count": "2" } })
    }
    fn members(&self) -> Vec<Member> {
        vec![Member {
            name: "n1".into(),
            address: "127.0.0.1".into(),
            port: 4647,
            status: "alive".into(),
            build: "0.1.0".into(),
        }]
    }
    fn servers(&self) -> Vec<String> {
        vec!["127.0.0.1:4647".into()]
    }
    fn leader(&self) -> Option<String> {
        Some("127.0.0.1:4647".into())
    }
    fn server_health(&self) -> Option<Health> {
        Some(Health { ok: true, message: "ok".into() })
    }
    fn client_health(&self) -> Option<Health> {
        None
    }
    fn metrics(&self, prometheus: bool) -> String {
        if prometheus { "trine_up 1\n".into() } else { r#"{"Gauges":[]}"#.into() }
    }
    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Err("no configuration file".into()) })
    }
}

pub struct Rig {
    pub replica: Arc<LocalReplica>,
    router: Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("ascii"))
    }
}

impl Rig {
    pub fn new(commands: Vec<Command>) -> Self {
        let replica = Arc::new(LocalReplica::new(State::default()));
        for c in commands {
            replica.apply(c).expect("the prepared state applies");
        }
        let router = router(Api { replica: replica.clone(), agent: Arc::new(Fake) });
        Self { replica, router }
    }

    /// One node running one allocation of the job `web`.
    pub fn prepared() -> Self {
        Self::new(log())
    }

    pub async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.request(http::Request::builder().method(method).uri(path).body(body.into()).expect("a request")).await
    }

    pub async fn request(&self, request: http::Request<Body>) -> Answer {
        let answered = tokio::time::timeout(Duration::from_secs(20), self.router.clone().oneshot(request));
        let response = answered.await.expect("an answer in time").expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// The stream of a response, not read.
    pub async fn open(&self, path: &str) -> Body {
        let request = http::Request::builder().uri(path).body(Body::empty()).expect("a request");
        self.router.clone().oneshot(request).await.expect("infallible").into_body()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Body::empty()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, body.to_string()).await
    }
}

pub fn node() -> Node {
    let mut node = Node {
        id: NODE.parse().expect("a uuid"),
        name: "n1".into(),
        status: NodeStatus::Ready,
        http_address: "127.0.0.1:4646".into(),
        ..Node::default()
    };
    node.attributes.insert("os.name".into(), "debian".into());
    node.attributes.insert("cpu.arch".into(), "amd64".into());
    node
}

pub fn job(id: &str) -> Job {
    let service = Service {
        name: "web-svc".into(),
        port: "http".into(),
        tags: vec!["a".into(), "b".into()],
        ..Service::default()
    };
    let task = Task { name: "t".into(), driver: "mock_driver".into(), services: vec![service], ..Task::default() };
    let network = Network {
        ports: vec![
            PortRequest { label: "http".into(), ..PortRequest::default() },
            PortRequest { label: "admin".into(), fixed: Some(8080), ..PortRequest::default() },
        ],
        ..Network::default()
    };
    let group = Group { name: "g".into(), tasks: vec![task], networks: vec![network], count: 1, ..Group::default() };
    Job { id: id.into(), name: id.into(), kind: JobKind::Service, groups: vec![group], ..Job::default() }
}

pub fn eval(id: EvalId) -> Eval {
    let mut eval = Eval::pending(id, job("web").key(), JobKind::Service, 50, Trigger::JobRegister, Timestamp(1));
    eval.status = EvalStatus::Complete;
    eval.snapshot_index = Index(2);
    eval.queued.insert("g".into(), 2);
    eval
}

pub fn alloc_id(n: u128) -> AllocId {
    AllocId(Uuid::from_u128(n))
}

pub fn alloc(n: u128) -> Alloc {
    let port = |label: &str, value: u16| PortMapping {
        label: label.into(),
        value,
        to: value,
        host_ip: "127.0.0.1".into(),
        task: None,
    };
    Alloc {
        resources: GivenResources {
            tasks: BTreeMap::from([("t".into(), GivenTask { cpu_mhz: 100, memory_mb: 300, ..GivenTask::default() })]),
            disk_mb: 300,
            ports: vec![port("http", 20_001), port("admin", 8080)],
        },
        deployment: Some(DEPLOYMENT.parse().expect("a uuid")),
        ..Alloc::placed(alloc_id(n), EVAL.parse().expect("a uuid"), &node(), &job("web"), &"g".into(), 0)
    }
}

pub fn deployment() -> Deployment {
    Deployment {
        id: DEPLOYMENT.parse::<DeploymentId>().expect("a uuid"),
        job: job("web").key(),
        job_version: 0,
        job_modify_index: Index(2),
        job_create_index: Index(2),
        groups: BTreeMap::from([("g".into(), GroupRollout { desired_total: 1, ..GroupRollout::default() })]),
        status: DeploymentStatus::Running,
        description: "Deployment is running".into(),
        priority: 50,
        create_index: Index(0),
        modify_index: Index(0),
        created_at: Timestamp(3),
        modified_at: Timestamp(3),
    }
}

pub fn register(job: Job) -> Command {
    Command::JobRegister { job: Box::new(job), eval: None, enforce_index: None, at: Timestamp::from_secs(1) }
}

pub fn place(allocs: Vec<Alloc>) -> Command {
    let eval = eval(EVAL.parse().expect("a uuid"));
    let mut plan = Plan::empty(eval.id, 50, Index(2));
    plan.places = allocs;
    plan.deployment = Some(deployment());
    Command::Plans(vec![PlanResult {
        plan,
        evals: vec![eval],
        at: Timestamp::from_secs(2),
        leave_by: Timestamp::from_secs(9),
    }])
}

pub fn deploy(deployment: Deployment) -> Command {
    let mut plan = Plan::empty(EVAL.parse().expect("a uuid"), 50, Index(2));
    plan.deployment = Some(deployment);
    let at = Timestamp::from_secs(2);
    Command::Plans(vec![PlanResult { plan, evals: Vec::new(), at, leave_by: at }])
}

pub fn report(id: AllocId, client: ClientStatus, healthy: Option<bool>) -> Command {
    let event = TaskEvent {
        at: Timestamp::from_secs(3),
        kind: "Terminated".into(),
        message: "Exit Code: 3".into(),
        details: BTreeMap::from([("exit_code".into(), "3".into())]),
    };
    let phase = if client == ClientStatus::Running { TaskPhase::Running } else { TaskPhase::Dead };
    let state = TaskState { phase, events: vec![event], ..TaskState::default() };
    let report = AllocReport {
        id,
        client,
        client_description: "Tasks are running".into(),
        tasks: BTreeMap::from([("t".into(), state)]),
        checks: BTreeMap::new(),
        healthy,
    };
    Command::AllocReports { reports: vec![report], at: Timestamp::from_secs(3) }
}

/// Index 1: the node; 2: the job; 3: its plan; 4: the allocation runs.
pub fn log() -> Vec<Command> {
    vec![
        Command::NodeRegister { node: Box::new(node()), at: Timestamp::from_secs(1) },
        register(job("web")),
        place(vec![alloc(0xa1)]),
        report(alloc_id(0xa1), ClientStatus::Running, None),
    ]
}
