//! What the load balancer knows between two tables: every claim, every target, every position of round robin.
//!
//! Follows the catalog by difference: only services that changed are read again. Pure apart from the flags of targets,
//! which it lowers after the new table is published.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use imbl::{OrdMap, ordmap::DiffItem};
use model::{
    AllocId, Index, ServiceName, State,
    catalog::{Instance, ServiceEntry, Source},
    check::Verdict,
};
use tokio::sync::Notify;

use crate::{
    config::Config,
    pick::{Cursor, Strategy},
    table::{Choice, Claim, Problem, Table},
    tag,
    target::{Endpoint, Key, Target},
};

/// The key whose value is the page for requests without a route.
pub const NO_ROUTE_KEY: &str = "fabio/noroute.html";
/// Largest such page that is used.
const MAX_PAGE: usize = 1024 * 1024;

pub struct Book {
    prefix: String,
    datacenter: String,
    strategy: Strategy,
    lanes: usize,
    seen: OrdMap<ServiceName, ServiceEntry>,
    services: BTreeMap<ServiceName, Pages>,
    targets: HashMap<Key, Arc<Target>>,
    cursors: HashMap<(String, String), Arc<Cursor>>,
    page: Option<Bytes>,
    /// Rung when a target that may be picked no more has a request less.
    idle: Arc<Notify>,
}

/// What one service's tags say.
#[derive(Default)]
struct Pages {
    claims: Vec<Claim>,
    problems: Vec<Problem>,
}

impl Book {
    #[must_use]
    pub fn new(config: &Config, idle: Arc<Notify>) -> Self {
        Self {
            prefix: config.tag_prefix.clone(),
            datacenter: config.datacenter.clone(),
            strategy: config.strategy,
            lanes: config.lanes(),
            seen: OrdMap::new(),
            services: BTreeMap::new(),
            targets: HashMap::new(),
            cursors: HashMap::new(),
            page: None,
            idle,
        }
    }

    /// Take in a state: publish a new table if one is due. True when it was.
    ///
    /// In this order: targets that become pickable are so before the table names them; targets that left are refused
    /// after no new request can find them, so that every request that fails on one finds another.
    pub fn follow(&mut self, state: &State, table: &ArcSwap<Table>) -> bool {
        let page = no_route_page(state);
        let services_moved = self.read_changes(state);
        if !services_moved && page == self.page {
            return false;
        }
        self.page = page;
        let next = self.build(state.index);
        let routed: HashSet<u64> = next.routes.iter().flat_map(|r| &r.choices).map(|c| c.target.id).collect();
        for target in self.targets.values().filter(|t| routed.contains(&t.id)) {
            target.set_pickable(true);
        }
        table.store(Arc::new(next));
        for target in self.targets.values().filter(|t| !routed.contains(&t.id)) {
            target.set_pickable(false);
        }
        self.forget();
        true
    }

    /// Allocations with an instance that may be picked, or has a request in flight.
    #[must_use]
    pub fn busy(&self) -> HashSet<AllocId> {
        self.targets.values().filter(|t| t.pickable() || t.in_flight() > 0).filter_map(|t| t.alloc).collect()
    }

    fn read_changes(&mut self, state: &State) -> bool {
        let mut changed = Vec::new();
        for item in self.seen.diff(&state.services) {
            match item {
                DiffItem::Add(name, _) | DiffItem::Remove(name, _) => changed.push(name.clone()),
                DiffItem::Update { new: (name, _), .. } => changed.push(name.clone()),
            }
        }
        self.seen = state.services.clone();
        let mut moved = false;
        for name in changed {
            let pages = state.services.get(&name).map(|entry| self.read_service(state, entry)).unwrap_or_default();
            let empty = pages.claims.is_empty() && pages.problems.is_empty();
            let before = if empty { self.services.remove(&name) } else { self.services.insert(name, pages) };
            moved |= !empty || before.is_some();
        }
        moved
    }

    fn read_service(&mut self, state: &State, entry: &ServiceEntry) -> Pages {
        let mut pages = Pages::default();
        for instance in entry.instances.values() {
            self.read_instance(state, instance, &mut pages);
        }
        pages
    }

    fn read_instance(&mut self, state: &State, instance: &Instance, pages: &mut Pages) {
        let mut specs = Vec::new();
        for tag in instance.tags.iter() {
            let mut problem = |reason: String, disabled: bool| {
                pages.problems.push(Problem {
                    service: instance.service.clone(),
                    node: instance.node.clone(),
                    instance: instance.id.clone(),
                    tag: tag.chars().take(200).collect(),
                    reason,
                    disabled,
                });
            };
            match tag::parse(tag, &self.prefix, &self.datacenter) {
                None => {}
                Some(Err(reason)) => problem(reason, true),
                Some(Ok(spec)) => {
                    for warning in &spec.warnings {
                        problem(warning.clone(), false);
                    }
                    specs.push((Arc::clone(tag), Arc::new(spec)));
                }
            }
        }
        if specs.is_empty() {
            return;
        }
        let address = state.address_of(instance);
        if address.is_empty() || instance.port == 0 {
            for (tag, _) in &specs {
                pages.problems.push(Problem {
                    service: instance.service.clone(),
                    node: instance.node.clone(),
                    instance: instance.id.clone(),
                    tag: tag.to_string(),
                    reason: "the instance has no address and port to connect to".into(),
                    disabled: true,
                });
            }
            return;
        }
        let target = self.target(instance, Endpoint::new(address, instance.port));
        let passing = state.verdict_of(instance) == Verdict::Passing;
        let tags: Arc<[Arc<str>]> =
            instance.tags.iter().filter(|t| !t.trim().starts_with(&self.prefix)).cloned().collect();
        for (_, spec) in specs {
            let choice = Choice { target: Arc::clone(&target), spec, tags: Arc::clone(&tags) };
            pages.claims.push(Claim { choice, passing });
        }
    }

    fn target(&mut self, instance: &Instance, endpoint: Endpoint) -> Arc<Target> {
        let key = Key {
            service: instance.service.clone(),
            node: instance.node.clone(),
            instance: instance.id.clone(),
            authority: endpoint.authority().into(),
        };
        let alloc = match instance.source {
            Source::Alloc(id) => Some(id),
            _ => None,
        };
        let (idle, lanes) = (Arc::clone(&self.idle), self.lanes);
        let made =
            self.targets.entry(key.clone()).or_insert_with(|| Arc::new(Target::new(key, alloc, endpoint, lanes, idle)));
        Arc::clone(made)
    }

    fn build(&mut self, index: Index) -> Table {
        let problems = self.services.values().flat_map(|p| &p.problems).cloned().collect();
        let (cursors, lanes) = (&mut self.cursors, self.lanes);
        let claims = self.services.values().flat_map(|p| &p.claims);
        let mut table = Table::build(index, claims, problems, self.strategy, |host, path| {
            let key = (host.to_owned(), path.to_owned());
            Arc::clone(cursors.entry(key).or_insert_with(|| Arc::new(Cursor::new(lanes))))
        });
        table.no_route_page.clone_from(&self.page);
        table
    }

    /// Forget targets that are out of the catalog and idle, and positions of routes that are gone.
    fn forget(&mut self) {
        let claimed: HashSet<u64> =
            self.services.values().flat_map(|p| &p.claims).map(|c| c.choice.target.id).collect();
        self.targets.retain(|_, t| claimed.contains(&t.id) || t.in_flight() > 0);
        let live: HashSet<(&str, &str)> = self
            .services
            .values()
            .flat_map(|p| &p.claims)
            .map(|c| (c.choice.spec.host.as_str(), c.choice.spec.path.as_str()))
            .collect();
        self.cursors.retain(|(host, path), _| live.contains(&(host.as_str(), path.as_str())));
    }
}

fn no_route_page(state: &State) -> Option<Bytes> {
    let entry = state.kv.get(NO_ROUTE_KEY)?;
    (entry.value.len() <= MAX_PAGE && !entry.value.is_empty()).then(|| entry.value.clone())
}
