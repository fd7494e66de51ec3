//! The routes of one host, found by the longest path that is a prefix of the request's.
//!
//! An ordered tree without links between prefixes. If `p` is the greatest path that is not above the request's `r`,
//! then every path that is a prefix of `r` is one of `p` too, and so no longer than what `p` and `r` share. So each
//! step either finds a prefix or goes on with the shared part, and one or two steps are the rule.

use std::sync::Arc;

use imbl::OrdMap;

use super::Route;

#[derive(Clone, Debug, Default)]
pub struct Paths(OrdMap<Arc<str>, Arc<Route>>);

impl Paths {
    pub fn set(&mut self, path: &Arc<str>, route: Option<Arc<Route>>) {
        match route {
            Some(route) => self.0.insert(Arc::clone(path), route),
            None => self.0.remove(path),
        };
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The routes whose path is a prefix of `path`, longest first.
    pub fn matches<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a Arc<Route>> {
        // What is left of the request's path to find prefixes of; none once the empty path was looked at.
        let mut rest = Some(path);
        std::iter::from_fn(move || {
            loop {
                let (found, route) = self.0.get_prev(rest?)?;
                let shared = shared(found, rest?);
                // Next: strictly shorter than what was looked at, or than what was found.
                if shared == found.len() {
                    rest = shared.checked_sub(1).map(|n| &path[..n]);
                    return Some(route);
                }
                rest = Some(&path[..shared]);
            }
        })
    }
}

/// How many bytes two texts begin with in common, in whole characters of both.
fn shared(a: &str, b: &str) -> usize {
    let mut n = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    while !b.is_char_boundary(n) {
        n -= 1;
    }
    n
}
