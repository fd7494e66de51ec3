//! The routes of one host, found by the longest path that is a prefix of the request's.
//!
//! Sorted by path, each with a link to the longest other path that is its prefix. Every prefix of a text that is in
//! the set is the text's predecessor or one of the predecessor's links, so one binary search finds them all.

use std::sync::Arc;

use super::Route;

#[derive(Debug, Default)]
pub struct Paths(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    /// The entry with the longest path that is a proper prefix of this one's.
    shorter: Option<u32>,
}

impl Paths {
    /// From routes with distinct paths.
    #[must_use]
    pub fn new(mut routes: Vec<Arc<Route>>) -> Self {
        routes.sort_by(|a, b| a.path.cmp(&b.path));
        let mut entries: Vec<Entry> = Vec::with_capacity(routes.len());
        for route in routes {
            let mut shorter = u32::try_from(entries.len()).ok().and_then(|n| n.checked_sub(1));
            while let Some(n) = shorter {
                let candidate = &entries[n as usize];
                if route.path.starts_with(&candidate.route.path) {
                    break;
                }
                shorter = candidate.shorter;
            }
            entries.push(Entry { route, shorter });
        }
        Self(entries)
    }

    /// The routes whose path is a prefix of `path`, longest first.
    pub fn matches<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a Arc<Route>> {
        let after = self.0.partition_point(|e| e.route.path.as_str() <= path);
        let mut at = u32::try_from(after).ok().and_then(|n| n.checked_sub(1));
        std::iter::from_fn(move || {
            let entry = &self.0[at? as usize];
            at = entry.shorter;
            Some(&entry.route)
        })
        .filter(move |r| path.starts_with(&r.path))
    }
}
