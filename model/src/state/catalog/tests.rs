//! Registrations: what they change, what they touch, and who may remove them.

use std::collections::BTreeMap;

use crate::{
    catalog::{CatalogNode, Check, Instance, Source, Weights},
    check::Verdict,
    command::{CatalogRegistration, Command, Rejected},
    driver_config::Value,
    id::{Index, InstanceId, NodeName},
    node::{Node, NodeStatus},
    state::{Outcome, State},
    time::Timestamp,
    topic::Topic,
};

fn node(name: &str) -> CatalogNode {
    CatalogNode {
        name: name.into(),
        id: String::new(),
        address: "10.0.0.1".into(),
        datacenter: "dc1".into(),
        tagged_addresses: BTreeMap::new(),
        meta: BTreeMap::new(),
        checks: BTreeMap::new(),
        source: Source::Catalog,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

fn instance(node: &str, id: &str, service: &str) -> Instance {
    Instance {
        id: id.into(),
        service: service.into(),
        node: node.into(),
        address: String::new(),
        port: 80,
        tags: [].into(),
        meta: BTreeMap::new(),
        tagged_addresses: BTreeMap::new(),
        weights: Weights::default(),
        enable_tag_override: false,
        kind: String::new(),
        foreign: Value::Null,
        checks: BTreeMap::new(),
        source: Source::Catalog,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

fn check(id: &str, verdict: Verdict) -> Check {
    Check {
        id: id.into(),
        name: id.into(),
        verdict,
        notes: String::new(),
        output: String::new(),
        kind: String::new(),
        definition: None,
        foreign_definition: Value::Null,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

fn registration(node_name: &str, instance: Option<Instance>) -> CatalogRegistration {
    CatalogRegistration {
        node: node(node_name),
        skip_node_update: false,
        instance,
        replace_checks: false,
        checks: Vec::new(),
    }
}

fn apply(s: &mut State, command: Command) -> Outcome {
    let index = Index(s.index.0 + 1);
    s.apply(index, command)
}

fn register(s: &mut State, r: CatalogRegistration) -> Outcome {
    apply(s, Command::CatalogRegister(Box::new(r)))
}

fn with_check(node: &str, id: &str, service: &str, verdict: Verdict) -> CatalogRegistration {
    CatalogRegistration {
        checks: vec![(Some(id.into()), check(&format!("c-{id}"), verdict))],
        ..registration(node, Some(instance(node, id, service)))
    }
}

#[test]
fn the_same_registration_again_moves_nothing() {
    for replace_checks in [false, true] {
        let mut s = State::default();
        let r = CatalogRegistration { replace_checks, ..with_check("n", "web1", "web", Verdict::Passing) };
        register(&mut s, r.clone()).reply.expect("registers");
        let before = s.clone();
        let again = register(&mut s, r);
        assert!(again.reply.is_ok() && again.touched.is_empty(), "{:?}", again.touched);
        assert_eq!(State { index: before.index, ..s }, before);
    }
}

#[test]
fn only_what_changed_is_touched() {
    let mut s = State::default();
    register(&mut s, with_check("n", "web1", "web", Verdict::Passing)).reply.expect("registers");
    register(&mut s, with_check("m", "db1", "db", Verdict::Passing)).reply.expect("registers");
    let web = s.service_index("web");
    let verdict = |node: &str, id: &str, verdict| Command::CheckVerdict {
        node: node.into(),
        instance: Some(id.into()),
        check: format!("c-{id}").into(),
        verdict,
        output: String::new(),
    };
    let touched = apply(&mut s, verdict("m", "db1", Verdict::Critical)).touched;
    assert!(touched.contains(&Topic::Service("db".into())) && !touched.contains(&Topic::Service("web".into())));
    assert_eq!(s.service_index("web"), web);
    assert_eq!((s.service_index("db"), s.tables.checks), (s.index, s.index));
    assert_eq!(s.catalog_node_index("m"), s.index);
    // A node-level check concerns every service on the node.
    let r = CatalogRegistration { checks: vec![(None, check("disk", Verdict::Warning))], ..registration("n", None) };
    let touched = register(&mut s, r).touched;
    assert!(touched.contains(&Topic::Service("web".into())) && !touched.contains(&Topic::Service("db".into())));
}

#[test]
fn indexes_never_go_back_when_the_last_instance_leaves() {
    let mut s = State::default();
    register(&mut s, with_check("n", "web1", "web", Verdict::Passing)).reply.expect("registers");
    register(&mut s, with_check("n", "db1", "db", Verdict::Passing)).reply.expect("registers");
    let (service, on_node) = (s.service_index("web"), s.catalog_node_index("n"));
    let gone =
        apply(&mut s, Command::CatalogDeregister { node: "n".into(), instance: Some("web1".into()), check: None });
    assert!(gone.touched.contains(&Topic::Service("web".into())));
    assert!(s.service("web").is_none() && s.service_index("web") > service);
    assert!(s.catalog_node_index("n") > on_node);
    apply(&mut s, Command::CatalogDeregister { node: "n".into(), instance: None, check: None }).reply.expect("goes");
    assert!(s.services.is_empty() && s.catalog_nodes.is_empty() && s.instances_by_node.is_empty());
    assert_eq!(s.catalog_node_index("n"), s.index);
    assert!(s.node_service_indexes.is_empty());
    // Again: nothing to remove is success.
    let again = apply(&mut s, Command::CatalogDeregister { node: "n".into(), instance: None, check: None });
    assert!(again.reply.is_ok() && again.touched.is_empty());
}

#[test]
fn checks_need_an_owner_and_move_with_it() {
    let mut s = State::default();
    let orphan = CatalogRegistration {
        checks: vec![(Some("x".into()), check("c", Verdict::Passing))],
        ..registration("n", None)
    };
    assert_eq!(register(&mut s, orphan).reply, Err(Rejected::Invalid("Missing service registration".into())));
    assert!(s.catalog_nodes.is_empty(), "a refused registration leaves no node behind");
    register(&mut s, with_check("n", "a", "web", Verdict::Passing)).reply.expect("registers");
    register(&mut s, registration("n", Some(instance("n", "b", "web")))).reply.expect("registers");
    let moved = CatalogRegistration {
        checks: vec![(Some("b".into()), check("c-a", Verdict::Critical))],
        ..registration("n", None)
    };
    register(&mut s, moved).reply.expect("registers");
    let n = NodeName::from("n");
    assert!(s.instance(&n, &"a".into()).is_some_and(|i| i.checks.is_empty()));
    assert!(s.instance(&n, &"b".into()).is_some_and(|i| i.verdict() == Verdict::Critical));
    // Renaming the service of an instance leaves nothing under the old name.
    register(&mut s, registration("n", Some(instance("n", "b", "api")))).reply.expect("registers");
    assert_eq!(s.service("web").map(|e| e.instances.len()), Some(1));
    assert!(s.instance(&n, &"b".into()).is_some_and(|i| i.service.as_str() == "api" && i.checks.len() == 1));
}

#[test]
fn an_agents_node_keeps_its_record_and_the_checks_others_put_on_it() {
    let mut s = State::default();
    let agent = Node { name: "n".into(), address: "10.9.9.9".into(), status: NodeStatus::Ready, ..Node::default() };
    let up = Command::NodeRegister { node: Box::new(agent.clone()), at: Timestamp(1) };
    apply(&mut s, up.clone()).reply.expect("registers");
    let r = CatalogRegistration {
        checks: vec![(None, check("_node_maintenance", Verdict::Critical))],
        ..with_check("n", "web1", "web", Verdict::Passing)
    };
    register(&mut s, CatalogRegistration { checks: r.checks, ..registration("n", r.instance) })
        .reply
        .expect("registers");
    assert_eq!(s.catalog_node("n").map(|n| n.address.as_str()), Some("10.9.9.9"));
    apply(&mut s, up).reply.expect("registers again");
    let node = s.catalog_node("n").expect("is there");
    assert_eq!(node.checks.len(), 2, "serfHealth and maintenance");
    let gone = apply(&mut s, Command::CatalogDeregister { node: "n".into(), instance: None, check: None });
    assert!(matches!(gone.reply, Err(Rejected::Conflict(_))));
    let other = CatalogRegistration {
        node: CatalogNode { id: "11111111-2222-3333-4444-555555555555".into(), ..self::node("n") },
        ..registration("n", None)
    };
    assert!(matches!(register(&mut s, other).reply, Err(Rejected::Conflict(m)) if m.contains("is reserved by node")));
}

#[test]
fn what_the_agent_registered_stays_the_agents() {
    let mut s = State::default();
    let by_agent = Instance { source: Source::Agent, ..instance("n", "web1", "web") };
    register(&mut s, registration("n", Some(by_agent))).reply.expect("registers");
    register(&mut s, registration("n", Some(instance("n", "web1", "web")))).reply.expect("registers");
    let stored = s.instance(&"n".into(), &InstanceId::from("web1")).expect("is there");
    assert_eq!(stored.source, Source::Agent);
}
