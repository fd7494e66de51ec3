//! Placements a second of one evaluation, on 100 and on 5,000 nodes. Deciding only: nothing is replicated or started.
//!
//! `cargo run --release -p scheduler --example bench_place`

use std::time::{Duration, Instant};

use model::{
    Command, Eval, EvalId, Group, Index, Job, JobKind, Node, NodeId, NodeStatus, State, Task, Timestamp, Trigger,
    node::DriverInfo,
    resource::{Amount, Network, PortRequest, TaskResources},
};
use scheduler::evaluate::evaluate;
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const ROUNDS: u32 = 5;

fn node(n: u32) -> Node {
    let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
    let mut node = Node {
        id: NodeId(Uuid::from_u128(u128::from(n) + 1)),
        name: format!("node-{n}"),
        address: format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255),
        status: NodeStatus::Ready,
        drivers: [("mock_driver".to_owned(), driver)].into(),
        ..Node::default()
    };
    node.resources.total = Amount { cpu_mhz: 64_000, memory_mb: 256_000, disk_mb: 1_000_000 };
    node.attributes.insert("kernel.name".into(), "linux".into());
    node.meta.insert("rack".into(), format!("r{}", n % 25));
    node
}

fn job(count: u32) -> Job {
    let resources = TaskResources { cpu_mhz: 50, memory_mb: 64, ..TaskResources::default() };
    let task = Task { name: "web".into(), driver: "mock_driver".into(), resources, ..Task::default() };
    let port = PortRequest { label: "http".into(), ..PortRequest::default() };
    let group = Group {
        name: "web".into(),
        count,
        tasks: vec![task],
        networks: vec![Network { ports: vec![port], ..Network::default() }],
        ..Group::default()
    };
    Job { id: "bench".into(), name: "bench".into(), groups: vec![group], ..Job::default() }
}

fn state(nodes: u32, count: u32) -> (State, Eval) {
    let mut state = State::default();
    let mut apply = |command| {
        let index = Index(state.index.0 + 1);
        state.apply(index, command).reply.expect("the command applies");
    };
    for n in 0..nodes {
        apply(Command::NodeRegister { node: Box::new(node(n)), at: NOW });
    }
    let job = job(count);
    let eval =
        Eval::pending(EvalId(Uuid::from_u128(7)), job.key(), JobKind::Service, job.priority, Trigger::JobRegister, NOW);
    apply(Command::JobRegister { job: Box::new(job), eval: Some(eval.clone()), enforce_index: None, at: NOW });
    (state, eval)
}

fn main() {
    println!("| nodes | allocations | one evaluation, best of {ROUNDS} | placements/s |\n|---|---|---|---|");
    for (nodes, count) in [(100, 1_000), (5_000, 1_000), (5_000, 5_000)] {
        let (state, eval) = state(nodes, count);
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let done = evaluate(&state, &eval, NOW);
            best = best.min(started.elapsed());
            assert_eq!(done.plan.places.len(), count as usize, "everything fits");
        }
        println!(
            "| {nodes} | {count} | {:.1} ms | {:.0} |",
            best.as_secs_f64() * 1e3,
            f64::from(count) / best.as_secs_f64()
        );
    }
}
