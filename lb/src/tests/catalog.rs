//! Catalog entries for tests.

use std::{collections::BTreeMap, net::SocketAddr};

use model::{
    Command, Index,
    catalog::{CatalogNode, Check, Instance, Source, Weights},
    check::Verdict,
    command::CatalogRegistration,
    driver_config::Value,
};

pub fn node(name: &str) -> CatalogNode {
    CatalogNode {
        name: name.into(),
        id: String::new(),
        address: "127.0.0.1".into(),
        datacenter: "dc1".into(),
        tagged_addresses: BTreeMap::new(),
        meta: BTreeMap::new(),
        checks: BTreeMap::new(),
        source: Source::Catalog,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

fn check(verdict: Verdict) -> Check {
    Check {
        id: "c".into(),
        name: "c".into(),
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

/// Register an instance of `service` at `addr` with one check.
pub fn register(service: &str, id: &str, addr: SocketAddr, tags: &[&str], verdict: Verdict) -> Command {
    let instance = Instance {
        id: id.into(),
        service: service.into(),
        node: "n1".into(),
        address: addr.ip().to_string(),
        port: addr.port(),
        tags: tags.iter().map(|t| (*t).into()).collect(),
        meta: BTreeMap::new(),
        tagged_addresses: BTreeMap::new(),
        weights: Weights::default(),
        enable_tag_override: false,
        kind: String::new(),
        foreign: Value::Null,
        checks: BTreeMap::from([("c".into(), check(verdict))]),
        source: Source::Catalog,
        create_index: Index(0),
        modify_index: Index(0),
    };
    Command::CatalogRegister(Box::new(CatalogRegistration {
        node: node("n1"),
        skip_node_update: false,
        instance: Some(instance),
        replace_checks: true,
        checks: Vec::new(),
    }))
}

pub fn passing(service: &str, id: &str, addr: SocketAddr, tags: &[&str]) -> Command {
    register(service, id, addr, tags, Verdict::Passing)
}

pub fn deregister(id: &str) -> Command {
    Command::CatalogDeregister { node: "n1".into(), instance: Some(id.into()), check: None }
}

pub fn verdict(id: &str, verdict: Verdict) -> Command {
    Command::CheckVerdict {
        node: "n1".into(),
        instance: Some(id.into()),
        check: "c".into(),
        verdict,
        output: String::new(),
    }
}
