//! From a request to the instance that gets it, on the table of the moment.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use model::ServiceName;

use super::{Admitted, Core, rewrite};
use crate::{
    table::{Route, Table},
    tag::RouteSpec,
    target::InFlight,
};

/// How often a table may be found outdated under one request. Each time means a newer one was published meanwhile.
const RELOADS: usize = 8;

pub(super) enum Pick {
    /// The instance is counted as busy with this request from here on.
    Instance(Arc<RouteSpec>, InFlight),
    Redirect(u16, String),
    /// Routes match, but none of their instances is healthy.
    Down(ServiceName),
    /// Every instance was tried.
    Exhausted,
    NoRoute,
}

/// Choose an instance that is not in `tried`.
pub(super) fn pick(core: &Core, admitted: &Admitted, headers: &HeaderMap, tried: &[u64]) -> Pick {
    let mut cache = core.table.borrow_mut();
    for _ in 0..RELOADS {
        match pick_from(cache.load(), core, admitted, headers, tried) {
            Some(pick) => return pick,
            // All that were left are leaving: a newer table is published, or about to be.
            None => std::hint::spin_loop(),
        }
    }
    Pick::Exhausted
}

/// `None` when every choice left is leaving, and so the table is old.
fn pick_from(table: &Table, core: &Core, admitted: &Admitted, headers: &HeaderMap, tried: &[u64]) -> Option<Pick> {
    let host = authority(&admitted.host);
    let mut down = None;
    let route = table.find(host, admitted.target.path(), |route| {
        if route.choices.is_empty() {
            down = down.take().or_else(|| route.services.first().cloned());
            return false;
        }
        !loops(route, admitted, headers)
    });
    let Some(route) = route else {
        return Some(down.map_or(Pick::NoRoute, Pick::Down));
    };
    let (mut leaving, mut doubtful) = (false, None);
    for choice in route.order(core.lane, &core.dice).filter(|c| !tried.contains(&c.target.id)) {
        if let Some(redirect) = &choice.spec.redirect {
            let to = rewrite::location(&redirect.to, host, &admitted.target, &choice.spec);
            return Some(Pick::Redirect(redirect.status, to));
        }
        // One that has just refused a connection is only taken when nobody else is left.
        if choice.target.suspected() {
            doubtful = doubtful.or(Some(choice));
            continue;
        }
        match choice.target.enter(core.lane) {
            Some(in_flight) => return Some(Pick::Instance(Arc::clone(&choice.spec), in_flight)),
            None => leaving = true,
        }
    }
    if let Some(choice) = doubtful {
        match choice.target.enter(core.lane) {
            Some(in_flight) => return Some(Pick::Instance(Arc::clone(&choice.spec), in_flight)),
            None => leaving = true,
        }
    }
    (!leaving).then_some(Pick::Exhausted)
}

fn authority(host: &HeaderValue) -> &str {
    host.to_str().unwrap_or("")
}

/// A redirect that leads to where the request already is; the next match may know better.
fn loops(route: &Route, admitted: &Admitted, headers: &HeaderMap) -> bool {
    let Some(choice) = route.choices.first() else { return false };
    let Some(redirect) = &choice.spec.redirect else { return false };
    let host = authority(&admitted.host);
    let to = rewrite::location(&redirect.to, host, &admitted.target, &choice.spec);
    let scheme = headers.get(&super::headers::X_FORWARDED_PROTO).and_then(|p| p.to_str().ok()).unwrap_or("http");
    let to = to.split(['?', '#']).next().unwrap_or("");
    match to.strip_prefix(scheme).and_then(|t| t.strip_prefix("://")) {
        Some(rest) => {
            let (to_host, to_path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
            to_host.eq_ignore_ascii_case(host) && to_path == admitted.target.path()
        }
        None => to == admitted.target.path(),
    }
}
