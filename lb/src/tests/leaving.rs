//! The leaving handshake: acknowledged when nothing is in flight, and not before.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use model::{
    Alloc, AllocId, ClientStatus, Command, Desired, EvalId, Group, Index, Job, Node, NodeId, NodeStatus, Plan, Task,
    Timestamp,
    alloc::{AllocReport, TaskPhase, TaskState},
    plan::{PlanResult, StopAlloc},
    service::Service,
};
use uuid::Uuid;

use super::{Rig, eventually, exchange, instance::Server, lb_id};

fn node() -> Node {
    Node {
        id: NodeId(Uuid::from_u128(1)),
        name: "n1".into(),
        address: "127.0.0.1".into(),
        status: NodeStatus::Ready,
        ..Node::default()
    }
}

/// A job whose one service is at `addr`, which the test's own server stands for.
fn job(addr: SocketAddr, tags: &[&str]) -> Job {
    let service = Service {
        name: "web".into(),
        port: addr.port().to_string(),
        address: addr.ip().to_string(),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        ..Service::default()
    };
    let task = Task { name: "t".into(), driver: "mock_driver".into(), services: vec![service], ..Task::default() };
    let group = Group { name: "g".into(), tasks: vec![task], ..Group::default() };
    Job { id: "j".into(), name: "j".into(), groups: vec![group], ..Job::default() }
}

fn alloc(job: &Job) -> Alloc {
    Alloc::placed(AllocId(Uuid::from_u128(7)), EvalId(Uuid::from_u128(9)), &node(), job, &"g".into(), 0)
}

fn plan(change: impl FnOnce(&mut Plan), leave_by: Timestamp) -> Command {
    let mut plan = Plan::empty(EvalId(Uuid::from_u128(9)), 50, Index(0));
    change(&mut plan);
    Command::Plans(vec![PlanResult { plan, evals: Vec::new(), at: Timestamp(1), leave_by }])
}

pub fn start(rig: &Rig, addr: SocketAddr, tags: &[&str]) -> AllocId {
    let job = job(addr, tags);
    let alloc = alloc(&job);
    let id = alloc.id;
    rig.apply(Command::NodeRegister { node: Box::new(node()), at: Timestamp(1) });
    rig.apply(Command::JobRegister { job: Box::new(job), eval: None, enforce_index: None, at: Timestamp(1) });
    rig.apply(plan(|p| p.places.push(alloc), Timestamp::ZERO));
    let running = TaskState { phase: TaskPhase::Running, ..TaskState::default() };
    let report = AllocReport {
        id,
        client: ClientStatus::Running,
        client_description: String::new(),
        tasks: [("t".into(), running)].into(),
        checks: BTreeMap::new(),
        healthy: None,
    };
    rig.apply(Command::AllocReports { reports: vec![report], at: Timestamp(3) });
    id
}

pub fn stop(rig: &Rig, id: AllocId, within: Duration) {
    let stop = StopAlloc { id, desired: Desired::Stop, description: String::new(), client: None, followup_eval: None };
    rig.apply(plan(|p| p.stops.push(stop), Timestamp(1) + within));
}

pub fn awaited(rig: &Rig, id: AllocId) -> bool {
    let state = model::Replica::snapshot(&*rig.replica);
    state.allocs[&id].leaving.as_ref().is_some_and(|l| l.awaiting.contains(&lb_id()))
}

pub const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_instance_is_let_go_at_once() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    let id = start(&rig, a.addr, &["urlprefix-/x"]);
    rig.routed(1).await;
    assert_eq!(rig.get("h", "/x").await.status, 200);
    stop(&rig, id, HOUR);
    eventually(|| !awaited(&rig, id)).await;
    assert_eq!(rig.get("h", "/x").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_nobody_routes_to_is_let_go_too() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    let id = start(&rig, a.addr, &["no-route"]);
    stop(&rig, id, HOUR);
    eventually(|| !awaited(&rig, id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_waited_for() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    let id = start(&rig, a.addr, &["urlprefix-/"]);
    rig.routed(1).await;
    let addr = rig.addr();
    let slow =
        tokio::spawn(async move { exchange(addr, "GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await });
    eventually(|| a.hits() == 1).await;
    stop(&rig, id, HOUR);
    rig.routed(0).await;
    assert!(!slow.is_finished() && awaited(&rig, id), "acknowledged while a request was in flight");
    assert_eq!(slow.await.expect("ends").status, 200);
    eventually(|| !awaited(&rig, id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_counts_as_in_flight() {
    let (rig, a) = (Rig::new().await, super::websocket::echo_server().await);
    let id = start(&rig, a, &["urlprefix-/"]);
    rig.routed(1).await;
    let socket = super::websocket::open(rig.addr()).await;
    stop(&rig, id, HOUR);
    rig.routed(0).await;
    // Long enough for an acknowledgement that should not come.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(awaited(&rig, id));
    drop(socket);
    eventually(|| !awaited(&rig, id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancer_that_ends_is_waited_for_no_more() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    let id = start(&rig, a.addr, &["urlprefix-/"]);
    rig.routed(1).await;
    rig.cancel.cancel();
    eventually(|| model::Replica::snapshot(&*rig.replica).balancers.is_empty()).await;
    stop(&rig, id, HOUR);
    assert!(!awaited(&rig, id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_was_lost_is_renewed() {
    let rig = Rig::new().await;
    rig.apply(Command::LbDeregister { id: lb_id() });
    eventually(|| model::Replica::snapshot(&*rig.replica).balancers.contains_key(&lb_id())).await;
}
