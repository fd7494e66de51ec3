//! The route table: immutable, built from the catalog, swapped as a whole.
//!
//! A request is matched in this order; the first route with an instance takes it:
//! ```text
//!  host as sent ─► host without port ─► *.suffix, longest first ─► other patterns ─► routes without a host
//!     each: the longest path that is a prefix of the request's, then shorter ones
//! ```
//! A lookup costs one hash per candidate host and one binary search per path set, however many routes there are.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use model::{Index, InstanceId, NodeName, ServiceName};

use crate::{
    pick::{Cursor, Dice, Ring, Strategy, shares},
    tag::RouteSpec,
    target::Target,
};

mod paths;
mod pattern;
#[cfg(test)]
mod tests;

use paths::Paths;
use pattern::Pattern;

/// One instance that may answer for a route.
#[derive(Clone, Debug)]
pub struct Choice {
    pub target: Arc<Target>,
    pub spec: Arc<RouteSpec>,
    /// Tags of the instance that are no routes.
    pub tags: Arc<[Arc<str>]>,
}

/// A host and a path, and who answers for them.
#[derive(Debug)]
pub struct Route {
    pub host: String,
    pub path: String,
    /// Healthy instances, in a stable order. Empty: the service is registered, and down.
    pub choices: Vec<Choice>,
    /// The fraction of the traffic each choice gets.
    pub shares: Vec<f64>,
    pub strategy: Strategy,
    /// Services that asked for this route.
    pub services: Vec<ServiceName>,
    ring: Ring,
    cursor: Arc<Cursor>,
}

impl Route {
    /// The order in which this request tries the choices.
    pub fn order(&self, lane: usize, dice: &Dice) -> impl Iterator<Item = &Choice> {
        let at = match self.strategy {
            Strategy::RoundRobin => self.cursor.next(lane),
            Strategy::Random => dice.roll(),
        };
        self.ring.from(at).map(|n| &self.choices[n])
    }
}

/// A tag, or an option of one, that had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub service: ServiceName,
    pub node: NodeName,
    pub instance: InstanceId,
    pub tag: String,
    pub reason: String,
    /// The tag is no route at all, as opposed to one option without effect.
    pub disabled: bool,
}

/// One route tag of one instance, as the catalog has it now.
#[derive(Clone, Debug)]
pub struct Claim {
    pub choice: Choice,
    pub passing: bool,
}

/// Everything a request needs to find its way.
#[derive(Debug, Default)]
pub struct Table {
    /// The applied index this table was made from.
    pub index: Index,
    /// By host, then path.
    pub routes: Vec<Arc<Route>>,
    pub problems: Vec<Problem>,
    /// The page shown when no route matches, from the key `fabio/noroute.html`.
    pub no_route_page: Option<Bytes>,
    exact: HashMap<Box<str>, Paths>,
    /// `*.rest` by `.rest`.
    suffixes: HashMap<Box<str>, Paths>,
    patterns: Vec<(Pattern, Paths)>,
    any: Paths,
}

impl Table {
    /// Build from every claim. `cursor` gives the position of a route, which outlives the table.
    pub fn build<'a>(
        index: Index,
        claims: impl Iterator<Item = &'a Claim>,
        problems: Vec<Problem>,
        strategy: Strategy,
        mut cursor: impl FnMut(&str, &str) -> Arc<Cursor>,
    ) -> Self {
        let mut by_source: BTreeMap<(&str, &str), Vec<&Claim>> = BTreeMap::new();
        for claim in claims {
            let spec = &claim.choice.spec;
            by_source.entry((&spec.host, &spec.path)).or_default().push(claim);
        }
        let mut hosts: BTreeMap<&str, Vec<Arc<Route>>> = BTreeMap::new();
        let mut table = Self { index, problems, ..Self::default() };
        for ((host, path), claims) in by_source {
            let route = Arc::new(route(host, path, &claims, strategy, cursor(host, path)));
            hosts.entry(host).or_default().push(Arc::clone(&route));
            table.routes.push(route);
        }
        for (host, routes) in hosts {
            let paths = Paths::new(routes);
            match host.strip_prefix('*') {
                _ if host.is_empty() => table.any = paths,
                Some(rest) if rest.starts_with('.') && !rest.contains(['*', '?']) => {
                    table.suffixes.insert(rest.into(), paths);
                }
                _ if host.contains(['*', '?']) => table.patterns.push((Pattern::new(host), paths)),
                _ => {
                    table.exact.insert(host.into(), paths);
                }
            }
        }
        // The more specific pattern first: as its text read from the end, in descending order.
        table.patterns.sort_by(|a, b| b.0.reversed().cmp(a.0.reversed()));
        table
    }

    /// The best matching route that `accept` agrees to.
    ///
    /// `host` is the request's authority; `path` begins with `/`.
    pub fn find<'a>(
        &'a self,
        host: &str,
        path: &str,
        mut accept: impl FnMut(&Route) -> bool,
    ) -> Option<&'a Arc<Route>> {
        let lower;
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            &lower
        } else {
            host
        };
        let full = host.strip_suffix(":80").unwrap_or(host);
        let bare = without_port(full);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        let mut among = |paths: &'a Paths| paths.matches(path).find(|r| accept(r));
        if let Some(found) = self.exact.get(full).and_then(&mut among) {
            return Some(found);
        }
        if bare != full
            && let Some(found) = self.exact.get(bare).and_then(&mut among)
        {
            return Some(found);
        }
        if !self.suffixes.is_empty() {
            // From the left, so the longest suffix is tried first.
            for (at, _) in bare.match_indices('.') {
                if let Some(found) = self.suffixes.get(&bare[at..]).and_then(&mut among) {
                    return Some(found);
                }
            }
        }
        for (pattern, paths) in &self.patterns {
            if (pattern.matches(full) || pattern.matches(bare))
                && let Some(found) = among(paths)
            {
                return Some(found);
            }
        }
        among(&self.any)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The last colon of a bare IPv6 literal is inside its brackets.
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

fn route(host: &str, path: &str, claims: &[&Claim], default: Strategy, cursor: Arc<Cursor>) -> Route {
    let mut choices: Vec<Choice> = claims.iter().filter(|c| c.passing).map(|c| c.choice.clone()).collect();
    // The order is a function of the catalog, so that replicas show the same table.
    choices.sort_by(|a, b| a.target.key.cmp(&b.target.key));
    // An instance that says the same twice counts once.
    choices.dedup_by(|a, b| a.target.id == b.target.id && a.spec.options == b.spec.options);
    let weights: Vec<_> = choices.iter().map(|c| c.spec.weight).collect();
    let shares = shares(&weights);
    let mut services: Vec<_> = claims.iter().map(|c| c.choice.target.key.service.clone()).collect();
    services.sort();
    services.dedup();
    Route {
        host: host.to_owned(),
        path: path.to_owned(),
        ring: Ring::new(&shares),
        strategy: choices.iter().find_map(|c| c.spec.strategy).unwrap_or(default),
        choices,
        shares,
        services,
        cursor,
    }
}
