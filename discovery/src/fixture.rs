//! A catalog for tests, built through commands as the real one is.

use std::collections::BTreeMap;

use model::{
    Command, State,
    catalog::{CatalogNode, Check, Instance, Source, Weights},
    check::Verdict,
    command::CatalogRegistration,
    driver_config::Value,
    id::Index,
};

mod allocation;

pub use allocation::running_alloc;

#[derive(Default)]
pub struct Fixture {
    pub state: State,
}

pub struct Draft(Instance);

pub fn instance(node: &str, id: &str, service: &str, address: &str, port: u16) -> Draft {
    Draft(Instance {
        id: id.into(),
        service: service.into(),
        node: node.into(),
        address: address.into(),
        port,
        tags: [].into(),
        meta: BTreeMap::new(),
        tagged_addresses: BTreeMap::new(),
        weights: Weights::default(),
        enable_tag_override: false,
        kind: String::new(),
        foreign: Value::Null,
        checks: BTreeMap::new(),
        source: Source::Agent,
        create_index: Index(0),
        modify_index: Index(0),
    })
}

impl From<Draft> for Instance {
    fn from(draft: Draft) -> Self {
        draft.0
    }
}

impl Draft {
    pub fn tags(mut self, tags: &[&str]) -> Self {
        self.0.tags = tags.iter().map(|t| (*t).into()).collect();
        self
    }

    pub fn weights(mut self, passing: u32, warning: u32) -> Self {
        self.0.weights = Weights { passing, warning };
        self
    }
}

pub fn check(id: &str, verdict: Verdict) -> Check {
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

pub fn node(name: &str, address: &str) -> CatalogNode {
    CatalogNode {
        name: name.into(),
        id: String::new(),
        address: address.into(),
        datacenter: "dc1".into(),
        tagged_addresses: BTreeMap::new(),
        meta: BTreeMap::new(),
        checks: BTreeMap::new(),
        source: Source::Catalog,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

pub fn registration(node: CatalogNode) -> CatalogRegistration {
    CatalogRegistration { node, skip_node_update: false, instance: None, replace_checks: false, checks: Vec::new() }
}

impl Fixture {
    pub fn apply(&mut self, command: Command) {
        let index = Index(self.state.index.0 + 1);
        self.state.apply(index, command).reply.expect("applies");
    }

    pub fn register(&mut self, r: CatalogRegistration) {
        self.apply(Command::CatalogRegister(Box::new(r)));
    }

    pub fn node(&mut self, name: &str, address: &str, meta: &[(&str, &str)]) {
        let meta = meta.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.register(registration(CatalogNode { meta, ..node(name, address) }));
    }

    pub fn node_check(&mut self, name: &str, id: &str, verdict: Verdict) {
        let record = CatalogNode::clone(self.state.catalog_node(name).expect("the node"));
        self.register(CatalogRegistration { checks: vec![(None, check(id, verdict))], ..registration(record) });
    }

    /// An instance with one check, `service:<id>`.
    pub fn put(&mut self, draft: Draft, verdict: Verdict) {
        let mut instance = draft.0;
        let check = check(&format!("service:{}", instance.id), verdict);
        instance.checks.insert(check.id.clone(), check);
        let record = CatalogNode::clone(self.state.catalog_node(instance.node.as_str()).expect("the node"));
        self.register(CatalogRegistration { instance: Some(instance), ..registration(record) });
    }
}
