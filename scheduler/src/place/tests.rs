//! Placing on small clusters: ports, cores, preferences, volumes, and what two allocations cost while one hands over.

use std::sync::Arc;

use model::{
    Job, State,
    driver_config::Value,
    job::{Affinity, Operator, Spread, VolumeRequest},
    resource::{Network, PortRequest},
};

use super::usage::Usage;
use crate::world::{World, changed, node, web};

fn nodes_of(w: &World) -> Vec<String> {
    w.live("web").into_iter().map(|a| a.node_name).collect()
}

#[test]
fn dynamic_ports_stay_in_range_and_run_out_with_a_reason() {
    let mut w = World::new(0);
    let mut small = node(1);
    small.resources.min_dynamic_port = 20_000;
    small.resources.max_dynamic_port = 20_003;
    small.resources.ports_in_use = vec![20_001];
    small.resources.reserved_ports = vec![20_002];
    w.add(small);
    w.run(web(3));
    let mut ports: Vec<_> = w.live("web").iter().map(|a| a.resources.ports[0].value).collect();
    ports.sort_unstable();
    assert_eq!(ports, [20_000, 20_003]);
    let failed = w.state.evals.values().find_map(|e| e.failed_groups.get("g")).expect("one is left over");
    assert_eq!(failed.refusals[0].reason, "no free dynamic port for \"http\" between 20000 and 20003 on node n1");
}

#[test]
fn ports_of_groups_and_of_legacy_tasks_are_given_in_file_order() {
    let mut w = World::new(1);
    let mut job = web(1);
    let port = |label: &str, fixed, to| PortRequest { label: label.into(), fixed, to, ..PortRequest::default() };
    job.groups[0].networks[0].ports = vec![port("http", None, 80), port("admin", Some(9000), -1)];
    job.groups[0].tasks[0].resources.network = Some(Network { ports: vec![port("db", None, 0)], ..Network::default() });
    w.run(job);
    let given = w.live("web")[0].resources.ports.clone();
    let labels: Vec<_> = given.iter().map(|p| (p.label.as_str(), p.task.is_some())).collect();
    assert_eq!(labels, [("http", false), ("admin", false), ("db", true)]);
    assert_eq!((given[0].to, given[1].value, given[1].to), (80, 9000, 9000));
    assert_eq!(given[2].to, given[2].value);
    assert!(given.iter().all(|p| p.host_ip == "127.0.0.1"));
}

#[test]
fn the_same_static_port_twice_in_one_group_is_refused() {
    let mut w = World::new(1);
    let mut job = web(1);
    let port = |label: &str| PortRequest { label: label.into(), fixed: Some(7000), ..PortRequest::default() };
    job.groups[0].networks[0].ports = vec![port("a"), port("b")];
    w.run(job);
    let failed = w.state.evals.values().find_map(|e| e.failed_groups.get("g")).expect("cannot be placed");
    assert_eq!(failed.refusals[0].reason, "port 7000 is asked for twice, as \"a\" and \"b\"");
}

#[test]
fn cores_are_counted_whole() {
    let mut w = World::new(1);
    let mut job = web(5);
    job.groups[0].tasks[0].resources.cores = 1;
    w.run(job);
    let live = w.live("web");
    assert_eq!(live.len(), 4);
    let given = live[0].resources.tasks.values().next().expect("one task");
    assert_eq!((given.cores, given.cpu_mhz), (1, 1000));
}

#[test]
fn affinities_and_spreads_decide_between_equals() {
    let mut w = World::new(0);
    for n in 1..=4 {
        let mut node = node(n);
        node.meta.insert("rack".into(), if n < 3 { "r1" } else { "r2" }.into());
        w.add(node);
    }
    let mut job: Job = web(1);
    job.affinities.push(Affinity {
        attribute: "${node.unique.name}".into(),
        operator: Operator::Eq,
        value: "n3".into(),
        weight: 100,
    });
    w.run(job);
    assert_eq!(nodes_of(&w), ["n3"]);
    w.stop(&w.key("web"), true);
    w.settle();
    let mut job = web(6);
    job.spreads.push(Spread { attribute: "${meta.rack}".into(), weight: 100, targets: Vec::new() });
    w.run(job);
    let r1 = nodes_of(&w).iter().filter(|n| *n == "n1" || *n == "n2").count();
    assert_eq!(r1, 3);
}

#[test]
fn host_volumes_are_needed_by_name_and_mode() {
    let mut w = World::new(1);
    let mut with = node(2);
    with.host_volumes.insert("data".into(), ("/srv/data".into(), true));
    w.add(with);
    let mut job = web(1);
    let volume = |read_only| VolumeRequest { kind: "host".into(), source: "data".into(), read_only };
    job.groups[0].volumes.insert("v".into(), volume(true));
    w.run(job.clone());
    assert_eq!(nodes_of(&w), ["n2"]);
    job.id = "other".into();
    job.groups[0].volumes.insert("v".into(), volume(false));
    w.run(job);
    let failed = w.state.evals.values().find_map(|e| e.failed_groups.get("g")).expect("cannot be placed");
    assert_eq!(failed.constraint_filtered["missing compatible host volumes"], 2);
}

#[test]
fn a_pair_that_hands_over_costs_the_larger_of_the_two() {
    let mut w = World::new(1);
    let sized = |mut job: Job, mb| {
        job.groups[0].services.clear();
        job.groups[0].tasks[0].resources.memory_mb = mb;
        job.groups[0].tasks[0].config = Value::Int(i64::try_from(mb).unwrap_or(0));
        job
    };
    w.run(sized(web(1), 3000));
    w.settle();
    w.run(sized(changed(web(1), "new"), 2000));
    let node = w.live("web")[0].node;
    let used = |s: &State| Usage::of(s, node).amount.memory_mb;
    assert_eq!(w.state.allocs_on_node(node).filter(|a| a.holds_resources()).count(), 2);
    assert_eq!(used(&w.state), 3000);
    w.settle();
    assert_eq!(used(&w.state), 2000);
    assert_eq!(Arc::clone(&w.state.jobs[&w.key("web")]).version, 1);
}
