//! Tables of situations: what one evaluation, or a few, make of them.

use std::time::Duration;

use model::{
    ClientStatus, Command, DeploymentStatus, Eligibility, EvalStatus, Job, NodeId, NodeStatus, Trigger,
    alloc::Transition,
    check::Verdict,
    id::AllocId,
    job::{Constraint, Operator, Update},
    node::Drain,
};
use uuid::Uuid;

use crate::world::{World, batch, changed, node, system, web};

mod random;
mod rollouts;

fn blocked(w: &World) -> Vec<model::Eval> {
    w.state.evals.values().filter(|e| e.status == EvalStatus::Blocked).map(|e| model::Eval::clone(e)).collect()
}

fn reason(w: &World) -> String {
    let e = &blocked(w)[0];
    e.failed_groups.values().next().expect("has a reason").refusals[0].reason.clone()
}

#[test]
fn the_same_question_has_the_same_answer_byte_for_byte() {
    let mut w = World::new(5);
    w.submit(web(20));
    let eval = model::Eval::clone(w.state.evals.values().next().expect("made"));
    let bytes = |w: &World| {
        let e = w.evaluate(&eval);
        let result = model::plan::PlanResult { plan: e.plan, evals: e.evals, at: w.now, leave_by: w.now };
        Command::Plans(vec![result]).encode().expect("encodes")
    };
    assert_eq!(bytes(&w), bytes(&w));
    let before = w.evaluate(&eval);
    // Another index is another seed.
    let at = w.now;
    w.apply(Command::Evals { evals: Vec::new(), at });
    assert_ne!(before.plan.places[0].id, w.evaluate(&eval).plan.places[0].id);
}

#[test]
fn service_batch_and_system_are_placed() {
    let mut w = World::new(3);
    for job in [web(5), batch(4), system()] {
        w.run(job);
    }
    let count = |j: &str| w.live(j).len();
    assert_eq!((count("web"), count("batch"), count("system")), (5, 4, 3));
    let names: Vec<_> = w.live("web").into_iter().map(|a| a.name).collect();
    assert_eq!(names, ["web.g[0]", "web.g[1]", "web.g[2]", "web.g[3]", "web.g[4]"]);
    let mut ports: Vec<_> = w.live("web").iter().map(|a| a.resources.ports[0].value).collect();
    assert!(ports.iter().all(|p| (20_000..=32_000).contains(p)));
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 5);
}

#[test]
fn no_room_is_explained_in_words_and_waits() {
    let static_port = |port: u16| {
        let mut job = web(1);
        job.groups[0].networks[0].ports[0].fixed = Some(port);
        job
    };
    let mut listening = node(1);
    listening.resources.ports_in_use = vec![8080];
    let mut reserved = node(1);
    reserved.resources.reserved_ports = vec![8080];
    let mut unhealthy = node(1);
    unhealthy.drivers.get_mut("mock_driver").expect("has it").healthy = false;
    unhealthy.drivers.get_mut("mock_driver").expect("has it").description = "engine is down".into();
    let mut elsewhere = web(1);
    elsewhere.datacenters = vec!["eu-*".into()];
    let mut picky = web(1);
    picky.constraints.push(Constraint {
        attribute: "${attr.kernel.name}".into(),
        operator: Operator::Eq,
        value: "plan9".into(),
    });
    let mut big = web(1);
    big.groups[0].tasks[0].resources.cpu_mhz = 5000;
    let table = [
        (listening, static_port(8080), "port 8080 is taken on node n1 (listening, not by an allocation)"),
        (reserved, static_port(8080), "port 8080 is taken on node n1 (kept out of scheduling by its operator)"),
        (unhealthy, web(1), "driver \"mock_driver\" is unhealthy: engine is down"),
        (node(1), elsewhere, "is in datacenter \"dc1\", the job asks for [\"eu-*\"]"),
        (node(1), picky, "constraint ${attr.kernel.name} = plan9 does not hold (the node has no such value)"),
        (node(1), big, "not enough cpu: 5000 MHz asked, 4000 of 4000 MHz free"),
        (Node { eligibility: Eligibility::Ineligible, ..node(1) }, web(1), "is marked ineligible for scheduling"),
    ];
    for (node, job, want) in table {
        let mut w = World::new(0);
        w.add(node);
        w.run(job);
        assert_eq!(reason(&w), want);
        let done = w.state.evals.values().find(|e| e.status == EvalStatus::Complete).expect("is complete");
        assert_eq!(done.blocked, Some(blocked(&w)[0].id));
        assert_eq!(done.queued["g"], 1);
    }
}

use model::Node;

#[test]
fn a_port_held_by_a_job_is_named_with_its_job() {
    let mut w = World::new(1);
    let mut job = web(1);
    job.groups[0].networks[0].ports[0].fixed = Some(8080);
    w.run(job.clone());
    job.id = "other".into();
    w.run(job);
    assert!(reason(&w).ends_with("of job \"web\""), "{}", reason(&w));
    let metric = blocked(&w)[0].failed_groups["g"].clone();
    assert_eq!(metric.dimension_exhausted["network: reserved port collision http=8080"], 1);
    assert_eq!((metric.nodes_evaluated, metric.nodes_exhausted), (1, 1));
    // The holder goes; the blocked evaluation finds room and is over.
    w.stop(&w.key("web"), false);
    w.settle();
    assert_eq!(w.live("other").len(), 1);
    assert!(blocked(&w).is_empty());
}

#[test]
fn distinct_hosts_and_property() {
    let mut w = World::new(3);
    let mut job = web(4);
    job.constraints.push(Constraint { operator: Operator::DistinctHosts, ..Constraint::default() });
    w.run(job);
    let mut nodes: Vec<_> = w.live("web").iter().map(|a| a.node).collect();
    nodes.dedup();
    assert_eq!(nodes.len(), 3);
    assert_eq!(blocked(&w)[0].queued["g"], 1);

    let mut w = World::new(0);
    for (n, rack) in [(1, "r1"), (2, "r1"), (3, "r2")] {
        let mut node = node(n);
        node.meta.insert("rack".into(), rack.into());
        w.add(node);
    }
    let mut job = web(4);
    job.groups[0].constraints.push(Constraint {
        attribute: "${meta.rack}".into(),
        operator: Operator::DistinctProperty,
        value: "1".into(),
    });
    w.run(job);
    assert_eq!(w.live("web").len(), 2);
}

#[test]
fn scaling_down_stops_the_highest_and_up_fills_the_lowest() {
    let mut w = World::new(2);
    w.run(web(5));
    w.settle();
    let kept: Vec<AllocId> = w.live("web").iter().take(2).map(|a| a.id).collect();
    w.run(web(2));
    assert_eq!(w.live("web").iter().map(|a| a.id).collect::<Vec<_>>(), kept);
    w.settle();
    w.run(web(3));
    w.settle();
    let live = w.live("web");
    assert_eq!(live.iter().map(|a| a.slot).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(kept.iter().all(|k| live.iter().any(|a| a.id == *k)), "a new count touches nobody else");
    assert!(live.iter().all(|a| a.job_version == 2));
}

#[test]
fn stopping_and_purging_leaves_nothing() {
    for purge in [false, true] {
        let mut w = World::new(2);
        for job in [web(3), batch(2), system()] {
            let key = job.key();
            w.run(job);
            w.settle();
            w.stop(&key, purge);
            assert!(w.live(key.id.as_str()).is_empty());
            w.settle();
            assert!(w.live(key.id.as_str()).is_empty());
            assert_eq!(w.state.job(&key).is_none(), purge);
            if !purge {
                assert_eq!(w.state.job(&key).map(|j| j.status), Some(model::JobStatus::Dead));
            }
        }
        assert!(w.state.deployments.values().all(|d| !d.status.active()));
    }
}

#[test]
fn a_lost_node_is_replaced_and_its_allocations_are_lost() {
    let mut w = World::new(2);
    w.run(web(4));
    w.settle();
    let victim = w.live("web")[0].node;
    let (at, description) = (w.now, String::new());
    w.apply(Command::NodeStatus { node: victim, status: NodeStatus::Down, description, at });
    w.work();
    let live = w.live("web");
    assert_eq!(live.len(), 4);
    assert!(live.iter().all(|a| a.node != victim));
    let lost = w.state.allocs.values().filter(|a| a.client == ClientStatus::Lost).count();
    let moved = live.iter().filter(|a| a.previous.is_some()).count();
    assert!(lost > 0 && moved == lost);
}

#[test]
fn failed_allocations_are_tried_again_after_growing_delays() {
    let mut w = World::new(5);
    w.run(web(1));
    w.settle();
    let mut delays = Vec::new();
    for _ in 0..4 {
        let id = w.live("web")[0].id;
        w.report(id, ClientStatus::Failed, None, Verdict::Critical);
        w.work();
        let failed_at = w.now;
        let waiting = w.state.evals.values().find(|e| e.status == EvalStatus::Pending).expect("a follow-up waits");
        delays.push(waiting.wait_until.since(failed_at).as_secs());
        assert_eq!(w.state.allocs[&id].followup_eval, Some(waiting.id));
        assert!(w.live("web").is_empty());
        let until = waiting.wait_until;
        w.now = until;
        w.work();
        let next = &w.live("web")[0];
        assert_eq!(next.previous, Some(id));
        assert_eq!(w.state.allocs[&id].next, Some(next.id));
        assert_ne!(next.node, w.state.allocs[&id].node, "the node it failed on is avoided");
        w.settle();
    }
    assert_eq!(delays, [30, 60, 120, 240]);
    assert_eq!(w.live("web")[0].reschedules.len(), 4);
}

#[test]
fn batch_is_tried_once_more_and_done_work_stays_done() {
    let mut w = World::new(2);
    w.run(batch(2));
    w.settle();
    let [a, b] = [w.live("batch")[0].id, w.live("batch")[1].id];
    w.report(a, ClientStatus::Complete, None, Verdict::Passing);
    w.report(b, ClientStatus::Failed, None, Verdict::Passing);
    w.work();
    w.pass(Duration::from_secs(6));
    w.work();
    let again = w.live("batch");
    assert_eq!((again.len(), again[0].previous), (1, Some(b)));
    w.report(again[0].id, ClientStatus::Failed, None, Verdict::Passing);
    w.work();
    w.pass(Duration::from_secs(3600));
    w.settle();
    assert!(w.live("batch").is_empty(), "one attempt a day");
    assert_eq!(w.state.job(&w.key("batch")).map(|j| j.status), Some(model::JobStatus::Dead));
    // A new evaluation does not run finished work again.
    let eval = w.eval_for(&batch(2), Trigger::JobRegister);
    let at = w.now;
    w.apply(Command::Evals { evals: vec![eval], at });
    w.settle();
    assert!(w.live("batch").is_empty());
}

#[test]
fn a_stopped_allocation_is_replaced_elsewhere_even_without_services() {
    let mut w = World::new(2);
    let mut job = web(1);
    job.groups[0].services.clear();
    w.run(job.clone());
    w.settle();
    let old = w.live("web")[0].clone();
    let eval = w.eval_for(&job, Trigger::AllocStop);
    let at = w.now;
    let transitions = [(old.id, Transition { migrate: true, ..Transition::default() })].into();
    w.apply(Command::AllocTransitions { transitions, evals: vec![eval], at });
    w.work();
    w.settle();
    let live = w.live("web");
    assert_eq!((live.len(), live[0].previous), (1, Some(old.id)));
    assert_eq!(w.state.allocs[&old.id].client, ClientStatus::Complete);
}

#[test]
fn a_draining_node_empties_without_a_gap() {
    let mut w = World::new(2);
    w.run(web(4));
    w.settle();
    let victim: NodeId = w.live("web")[0].node;
    let drain = Drain { deadline: None, ignore_system_jobs: false, started_at: w.now, force_at: None };
    let at = w.now;
    w.apply(Command::NodeDrain { node: victim, drain: Some(drain), mark_eligible: false, at });
    for _ in 0..50 {
        let mut id = 0;
        let draining = [victim].into();
        let commands = crate::leader::drain::decide(&w.state, &draining, w.now, false, || {
            id += 1;
            model::EvalId(Uuid::from_u128(w.state.index.0 as u128 * 1000 + id))
        });
        for c in commands {
            w.apply(c);
        }
        w.work();
        let serving = w.live("web").iter().filter(|a| crate::reconcile::class::serving(&w.state, a)).count();
        assert!(serving >= 4, "a drain takes nobody away before its replacement is up");
        let moving = w.live("web").iter().filter(|a| a.transition.migrate).count();
        assert!(moving <= 1, "migrate.max_parallel");
        w.clients();
        if w.state.nodes[&victim].drain.is_none() {
            break;
        }
    }
    assert!(w.state.nodes[&victim].drain.is_none());
    assert_eq!(w.state.nodes[&victim].eligibility, Eligibility::Ineligible);
    assert!(w.live("web").iter().all(|a| a.node != victim));
    assert_eq!(w.live("web").len(), 4);
}

#[test]
fn system_jobs_follow_the_nodes_and_say_why_they_run_nowhere() {
    let mut w = World::new(1);
    w.run(system());
    w.settle();
    w.add(node(2));
    w.work();
    assert_eq!(w.live("system").len(), 2);
    w.run(changed(system(), "new"));
    w.settle();
    assert!(w.live("system").iter().all(|a| a.job_version == 1));
    let mut nowhere = system();
    nowhere.id = "nowhere".into();
    nowhere.groups[0].tasks[0].driver = "docker".into();
    w.run(nowhere);
    assert_eq!(reason(&w), "has no driver \"docker\" (it has: mock_driver)");
}

#[test]
fn a_failed_system_allocation_begins_again_on_its_node_after_a_pause() {
    let mut w = World::new(1);
    w.run(system());
    w.settle();
    let id = w.live("system")[0].id;
    w.report(id, ClientStatus::Failed, None, Verdict::Passing);
    w.work();
    assert!(w.live("system").is_empty());
    w.pass(Duration::from_secs(15));
    w.work();
    assert_eq!(w.live("system")[0].previous, Some(id));
}

#[test]
fn changes_of_policy_are_taken_over_in_place() {
    let mut w = World::new(1);
    w.run(web(2));
    w.settle();
    let ids: Vec<_> = w.live("web").iter().map(|a| a.id).collect();
    let mut job: Job = web(2);
    job.groups[0].services[0].tags.push("urlprefix-/x".into());
    job.priority = 70;
    job.groups[0].tasks[0].kill_timeout = Duration::from_secs(9);
    job.groups[0].update = Some(Update { max_parallel: 2, ..Update::default() });
    w.run(job);
    w.settle();
    let live = w.live("web");
    assert_eq!(live.iter().map(|a| a.id).collect::<Vec<_>>(), ids);
    assert!(live.iter().all(|a| a.job_version == 1));
    let d = w.state.latest_deployment(&w.key("web")).expect("has one").clone();
    assert_eq!((d.job_version, d.status), (1, DeploymentStatus::Successful));
}
