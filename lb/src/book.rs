//! What the load balancer knows between two tables: every claim, and every target.
//!
//! Follows the catalog by difference: only services that changed are read again, and only their routes made again. Pure apart from the flags of targets,
//! which it lowers after the new table is published.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use imbl::{OrdMap, ordmap::DiffItem};
use model::{
    AllocId, ServiceName, State,
    catalog::{Instance, ServiceEntry, Source},
    check::Verdict,
};
use tokio::sync::Notify;

use crate::{
    config::Config,
    pick::{Cursor, Strategy},
    table::{self, Choice, Claim, Place, Problem, Route, Table},
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
    services: HashMap<ServiceName, Pages>,
    /// Which services claim a place.
    claimants: HashMap<Place, BTreeSet<ServiceName>>,
    targets: HashMap<Key, Arc<Target>>,
    /// Targets that left the catalog with requests in flight.
    lingering: Vec<Arc<Target>>,
    /// The next table to publish.
    table: Table,
    /// Rung when a target that may be picked no more has a request less.
    idle: Arc<Notify>,
}

/// What one service's tags say.
#[derive(Default)]
struct Pages {
    claims: Vec<Claim>,
    problems: Vec<Problem>,
}

impl Pages {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.claims.iter().map(|c| {
            let spec = &c.choice.spec;
            (Arc::from(spec.host.as_str()), Arc::from(spec.path.as_str()))
        })
    }

    fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.claims.iter().map(|c| &c.choice.target)
    }

    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.problems.is_empty()
    }
}

/// What a change of the catalog moved.
#[derive(Default)]
struct Moved {
    any: bool,
    places: HashSet<Place>,
    targets: HashMap<u64, Arc<Target>>,
    /// Targets of the changed services that are routed now.
    routed: HashSet<u64>,
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
            services: HashMap::new(),
            claimants: HashMap::new(),
            targets: HashMap::new(),
            lingering: Vec::new(),
            table: Table::default(),
            idle,
        }
    }

    /// Take in a state: publish a new table if one is due. True when it was. Costs what changed, not what there is.
    ///
    /// In this order: targets that become pickable are so before the table names them; targets that left are refused
    /// after no new request can find them, so that every request that fails on one finds another.
    pub fn follow(&mut self, state: &State, table: &ArcSwap<Table>) -> bool {
        let page = no_route_page(state);
        let moved = self.read_changes(state);
        if !moved.any && page == self.table.no_route_page {
            return false;
        }
        for place in &moved.places {
            let route = self.route(place);
            self.table.set(place, route);
        }
        self.table.no_route_page = page;
        self.table.index = state.index;
        let (routed, gone): (Vec<_>, Vec<_>) = moved.targets.into_values().partition(|t| moved.routed.contains(&t.id));
        for target in &routed {
            target.set_pickable(true);
        }
        table.store(Arc::new(self.table.clone()));
        for target in &gone {
            target.set_pickable(false);
        }
        self.forget(gone);
        true
    }

    /// Allocations with an instance that may be picked, or has a request in flight.
    #[must_use]
    pub fn busy(&self) -> HashSet<AllocId> {
        self.targets.values().filter(|t| t.pickable() || t.in_flight() > 0).filter_map(|t| t.alloc).collect()
    }

    fn read_changes(&mut self, state: &State) -> Moved {
        let mut changed = Vec::new();
        for item in self.seen.diff(&state.services) {
            match item {
                DiffItem::Add(name, _) | DiffItem::Remove(name, _) => changed.push(name.clone()),
                DiffItem::Update { new: (name, _), .. } => changed.push(name.clone()),
            }
        }
        self.seen = state.services.clone();
        let mut moved = Moved::default();
        for name in changed {
            let pages = state.services.get(&name).map(|entry| self.read_service(state, entry)).unwrap_or_default();
            let before = self.services.remove(&name).unwrap_or_default();
            if before.is_empty() && pages.is_empty() {
                continue;
            }
            moved.any = true;
            self.turn(&name, &before, &pages, &mut moved);
            if !pages.is_empty() {
                self.services.insert(name, pages);
            }
        }
        moved
    }

    /// Note what differs between two readings of a service.
    fn turn(&mut self, name: &ServiceName, before: &Pages, after: &Pages, moved: &mut Moved) {
        for place in before.places() {
            if let Entry::Occupied(mut services) = self.claimants.entry(place.clone()) {
                services.get_mut().remove(name);
                if services.get().is_empty() {
                    services.remove();
                }
            }
            moved.places.insert(place);
        }
        for place in after.places() {
            self.claimants.entry(place.clone()).or_default().insert(name.clone());
            moved.places.insert(place);
        }
        moved.targets.extend(before.targets().chain(after.targets()).map(|t| (t.id, Arc::clone(t))));
        moved.routed.extend(after.claims.iter().filter(|c| c.passing).map(|c| c.choice.target.id));
        if after.problems.is_empty() {
            self.table.problems.remove(name);
        } else {
            self.table.problems.insert(name.clone(), after.problems.clone().into());
        }
    }

    /// The route of a place, from all who claim it.
    fn route(&self, place: &Place) -> Option<Arc<Route>> {
        let here = |c: &&Claim| *c.choice.spec.host == *place.0 && *c.choice.spec.path == *place.1;
        let services = self.claimants.get(place)?;
        let pages = services.iter().filter_map(|s| self.services.get(s));
        let claims: Vec<&Claim> = pages.flat_map(|p| p.claims.iter().filter(here)).collect();
        let known = self.table.routes.get(place).map(|r| Arc::clone(&r.cursor));
        let cursor = known.unwrap_or_else(|| Arc::new(Cursor::new(self.lanes)));
        table::route(place, &claims, self.strategy, cursor).map(Arc::new)
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

    /// Forget targets that are out of the catalog once they are idle.
    fn forget(&mut self, gone: Vec<Arc<Target>>) {
        // A target that is only unhealthy is still claimed; its counters go on when it comes back.
        let claimed = |t: &Arc<Target>| {
            self.services.get(&t.key.service).is_some_and(|p| p.targets().any(|known| known.id == t.id))
        };
        let left: Vec<_> = self.lingering.drain(..).chain(gone).collect();
        let left: Vec<_> = left.into_iter().filter(|t| !claimed(t)).collect();
        for target in left {
            if target.in_flight() > 0 {
                self.lingering.push(target);
            } else if self.targets.get(&target.key).is_some_and(|known| known.id == target.id) {
                self.targets.remove(&target.key);
            }
        }
    }
}

fn no_route_page(state: &State) -> Option<Bytes> {
    let entry = state.kv.get(NO_ROUTE_KEY)?;
    (entry.value.len() <= MAX_PAGE && !entry.value.is_empty()).then(|| entry.value.clone())
}

#[cfg(test)]
mod tests;
