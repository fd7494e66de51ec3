//! The route table: built from the catalog, published as a whole, changed route by route.
//!
//! A request is matched in this order; the first route with an instance takes it:
//! ```text
//!  host as sent ─► host without port ─► *.suffix, longest first ─► other patterns ─► routes without a host
//!     each: the longest path that is a prefix of the request's, then shorter ones
//! ```
//! A lookup costs a hash per candidate host and a search in a tree of paths, whatever the number of routes.

use std::sync::Arc;

use bytes::Bytes;
use imbl::{HashMap, OrdMap};
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
    /// Healthy instances, in a stable order; one may be in it with different options. Empty: the service is registered, and down.
    pub choices: Vec<Choice>,
    /// The fraction of the traffic each choice gets.
    pub shares: Vec<f64>,
    pub strategy: Strategy,
    /// Services that asked for this route.
    pub services: Vec<ServiceName>,
    ring: Ring,
    /// Where round robin stands; the next table's route of the same place goes on from it.
    pub cursor: Arc<Cursor>,
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

/// A host and a path, as routes are filed.
pub type Place = (Arc<str>, Arc<str>);

/// Everything a request needs to find its way. Persistent: a copy costs nothing, a change only its own route.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The applied index this table was made from.
    pub index: Index,
    /// All routes, by host, then path.
    pub routes: OrdMap<Place, Arc<Route>>,
    pub problems: OrdMap<ServiceName, Arc<[Problem]>>,
    /// The page shown when no route matches, from the key `fabio/noroute.html`.
    pub no_route_page: Option<Bytes>,
    exact: HashMap<Arc<str>, Paths>,
    /// `*.rest` by `.rest`.
    suffixes: HashMap<Arc<str>, Paths>,
    patterns: Arc<Vec<(Pattern, Paths)>>,
    any: Paths,
}

/// How a host is found.
enum Filed<'a> {
    Any,
    Exact,
    /// Ends with this, which begins with a dot.
    Suffix(&'a str),
    Pattern,
}

fn filed(host: &str) -> Filed<'_> {
    let wild = |text: &str| text.contains(['*', '?']);
    match host.strip_prefix('*') {
        _ if host.is_empty() => Filed::Any,
        Some(rest) if rest.starts_with('.') && !wild(rest) => Filed::Suffix(rest),
        _ if wild(host) => Filed::Pattern,
        _ => Filed::Exact,
    }
}

impl Table {
    /// Put a route in its place, or with `None` take away what is there.
    pub fn set(&mut self, place: &Place, route: Option<Arc<Route>>) {
        let (host, path) = place;
        match &route {
            Some(route) => self.routes.insert(place.clone(), Arc::clone(route)),
            None => self.routes.remove(place),
        };
        match filed(host) {
            Filed::Any => self.any.set(path, route),
            Filed::Exact => set_in(&mut self.exact, Arc::clone(host), path, route),
            Filed::Suffix(rest) => set_in(&mut self.suffixes, rest.into(), path, route),
            Filed::Pattern => self.set_pattern(host, path, route),
        }
    }

    fn set_pattern(&mut self, host: &str, path: &Arc<str>, route: Option<Arc<Route>>) {
        let patterns = Arc::make_mut(&mut self.patterns);
        match patterns.iter_mut().find(|(p, _)| p.text() == host) {
            Some((_, paths)) => paths.set(path, route),
            None => {
                let mut paths = Paths::default();
                paths.set(path, route);
                patterns.push((Pattern::new(host), paths));
            }
        }
        patterns.retain(|(_, paths)| !paths.is_empty());
        // The more specific pattern first: as its text read from the end, in descending order.
        patterns.sort_by(|a, b| b.0.reversed().cmp(a.0.reversed()));
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
        for (pattern, paths) in self.patterns.iter() {
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

fn set_in(hosts: &mut HashMap<Arc<str>, Paths>, key: Arc<str>, path: &Arc<str>, route: Option<Arc<Route>>) {
    let mut paths = hosts.get(&key).cloned().unwrap_or_default();
    paths.set(path, route);
    if paths.is_empty() {
        hosts.remove(&key);
    } else {
        hosts.insert(key, paths);
    }
}

/// The route that these claims make; `None` when nobody claims it.
#[must_use]
pub fn route(place: &Place, claims: &[&Claim], default: Strategy, cursor: Arc<Cursor>) -> Option<Route> {
    let mut services: Vec<_> = claims.iter().map(|c| c.choice.target.key.service.clone()).collect();
    if services.is_empty() {
        return None;
    }
    services.sort();
    services.dedup();
    let mut choices: Vec<Choice> = claims.iter().filter(|c| c.passing).map(|c| c.choice.clone()).collect();
    // The order is a function of the catalog, so that replicas show the same table.
    choices.sort_by(|a, b| (&a.target.key, &a.spec.options).cmp(&(&b.target.key, &b.spec.options)));
    // An instance that says the same twice counts once.
    choices.dedup_by(|a, b| a.target.id == b.target.id && a.spec.options == b.spec.options);
    let weights: Vec<_> = choices.iter().map(|c| c.spec.weight).collect();
    let shares = shares(&weights);
    Some(Route {
        host: place.0.to_string(),
        path: place.1.to_string(),
        ring: Ring::new(&shares),
        strategy: choices.iter().find_map(|c| c.spec.strategy).unwrap_or(default),
        choices,
        shares,
        services,
        cursor,
    })
}
