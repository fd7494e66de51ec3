//! Catalog queries: plain functions over one snapshot, shared by DNS and the HTTP API.
//!
//! Names are looked up without regard to case, as clients expect; the exact name is found by a lookup, only a
//! different spelling costs a scan of the names.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    State,
    catalog::{CatalogNode, Instance, ServiceEntry},
};

/// Nodes whose name is `name`, whatever its case.
#[must_use]
pub fn node<'a>(state: &'a State, name: &str) -> Option<&'a Arc<CatalogNode>> {
    state
        .catalog_node(name)
        .or_else(|| state.catalog_nodes.values().find(|n| n.name.as_str().eq_ignore_ascii_case(name)))
}

/// A node by its name or its id.
#[must_use]
pub fn node_by_name_or_id<'a>(state: &'a State, key: &str) -> Option<&'a Arc<CatalogNode>> {
    node(state, key)
        .or_else(|| state.catalog_nodes.values().find(|n| !n.id.is_empty() && n.id.eq_ignore_ascii_case(key)))
}

/// A service by its name, whatever its case.
#[must_use]
pub fn service<'a>(state: &'a State, name: &str) -> Option<&'a ServiceEntry> {
    state
        .service(name)
        .or_else(|| state.services.iter().find(|(n, _)| n.as_str().eq_ignore_ascii_case(name)).map(|(_, entry)| entry))
}

/// The stored spelling of a service's name; `name` itself when there is no such service.
#[must_use]
pub fn service_name<'a>(state: &'a State, name: &'a str) -> &'a str {
    if state.service(name).is_some() {
        return name;
    }
    state.services.keys().map(|n| n.as_str()).find(|n| n.eq_ignore_ascii_case(name)).unwrap_or(name)
}

/// Whether an instance has a tag, whatever its case.
#[must_use]
pub fn has_tag(instance: &Instance, tag: &str) -> bool {
    instance.tags.iter().any(|t| t.eq_ignore_ascii_case(tag))
}

/// The distinct tags of a service, sorted.
#[must_use]
pub fn tags_of(entry: &ServiceEntry) -> BTreeSet<&str> {
    entry.instances.values().flat_map(|i| i.tags.iter().map(|t| &**t)).collect()
}
