//! `apply` as a whole: determinism, the leaving handshake, services that follow their allocation.

mod scheduling;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::State;
use crate::{
    alloc::{Alloc, AllocReport, ClientStatus, Desired, TaskPhase, TaskState},
    command::Command,
    id::{AllocId, EvalId, Index, LbId, NodeId},
    job::{Group, Job, Task},
    node::{Node, NodeStatus},
    plan::{Plan, PlanResult, StopAlloc},
    service::Service,
    time::Timestamp,
};

pub fn node() -> Node {
    Node { id: NodeId(Uuid::from_u128(1)), name: "n1".into(), status: NodeStatus::Ready, ..Node::default() }
}

pub fn job() -> Job {
    let service = Service { name: "web".into(), port: "8080".into(), ..Service::default() };
    let task = Task { name: "t".into(), driver: "mock_driver".into(), services: vec![service], ..Task::default() };
    let group = Group { name: "g".into(), tasks: vec![task], ..Group::default() };
    Job { id: "j".into(), name: "j".into(), groups: vec![group], ..Job::default() }
}

pub fn alloc(n: u128) -> Alloc {
    Alloc::placed(AllocId(Uuid::from_u128(n)), EvalId(Uuid::from_u128(9)), &node(), &job(), &"g".into(), 0)
}

fn place(alloc: Alloc) -> Command {
    let mut plan = Plan::empty(alloc.eval, 50, Index(0));
    plan.places.push(alloc);
    Command::Plans(vec![PlanResult { plan, evals: Vec::new(), at: Timestamp(1), leave_by: Timestamp(2) }])
}

fn stop(id: AllocId) -> Command {
    let mut plan = Plan::empty(EvalId(Uuid::from_u128(9)), 50, Index(0));
    plan.stops.push(StopAlloc {
        id,
        desired: Desired::Stop,
        description: String::new(),
        client: None,
        followup_eval: None,
    });
    Command::Plans(vec![PlanResult { plan, evals: Vec::new(), at: Timestamp(5), leave_by: Timestamp(9) }])
}

fn running(id: AllocId) -> Command {
    let state = TaskState { phase: TaskPhase::Running, ..TaskState::default() };
    let report = AllocReport {
        id,
        client: ClientStatus::Running,
        client_description: String::new(),
        tasks: [("t".into(), state)].into(),
        checks: BTreeMap::new(),
        healthy: None,
    };
    Command::AllocReports { reports: vec![report], at: Timestamp(3) }
}

fn log() -> Vec<Command> {
    let a = alloc(7);
    vec![
        Command::NodeRegister { node: Box::new(node()), at: Timestamp(1) },
        Command::JobRegister { job: Box::new(job()), eval: None, enforce_index: None, at: Timestamp(1) },
        Command::LbRegister { id: LbId(Uuid::from_u128(4)), node: "n1".into() },
        place(a.clone()),
        running(a.id),
        stop(a.id),
        Command::LbDrained { id: LbId(Uuid::from_u128(4)), allocs: vec![a.id] },
    ]
}

fn run(n: usize) -> State {
    let mut s = State::default();
    for (i, c) in log().into_iter().take(n).enumerate() {
        s.apply(Index(i as u64 + 1), c).reply.expect("applies");
    }
    s
}

#[test]
fn services_enter_and_leave_in_the_commit_that_starts_and_stops() {
    assert!(run(4).service("web").is_none());
    assert_eq!(run(5).service("web").map(|s| s.instances.len()), Some(1));
    let stopped = run(6);
    assert!(stopped.service("web").is_none());
    let leaving = stopped.allocs[&alloc(7).id].leaving.clone().expect("waits for the load balancer");
    assert_eq!(leaving.awaiting.len(), 1);
    assert!(run(7).allocs[&alloc(7).id].leaving.as_ref().is_some_and(|l| l.awaiting.is_empty()));
}

#[test]
fn same_log_same_bytes_and_snapshots_round_trip() {
    let (a, b) = (run(7), run(7));
    let bytes = a.encode().expect("encodes");
    assert_eq!(bytes, b.encode().expect("encodes"));
    assert_eq!(State::decode(&bytes).expect("decodes"), a);
    assert!(State::decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(State::decode(&[99]).is_err());
}

#[test]
fn a_refused_command_changes_nothing() {
    let mut s = run(5);
    let before = s.clone();
    let out = s.apply(
        Index(6),
        Command::JobDeregister {
            job: crate::JobKey::new("default", "nope"),
            purge: false,
            eval: None,
            at: Timestamp(1),
        },
    );
    assert!(out.reply.is_err() && out.touched.is_empty());
    assert_eq!(State { index: before.index, ..s }, before);
}
