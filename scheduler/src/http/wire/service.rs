//! Native service registrations in Nomad's JSON: the catalog's instances that come from allocations.

use std::collections::{BTreeMap, BTreeSet};

use model::{Alloc, Namespace, ServiceName, State, catalog::Instance};
use serde_json::{Value, json};

/// The services of one namespace with all their tags.
#[must_use]
pub fn stub(namespace: &Namespace, services: &BTreeMap<&ServiceName, BTreeSet<&str>>) -> Value {
    let rows: Vec<Value> =
        services.iter().map(|(name, tags)| json!({ "ServiceName": name.as_str(), "Tags": tags })).collect();
    json!({ "Namespace": namespace.as_str(), "Services": rows })
}

/// One instance of an allocation's service.
#[must_use]
pub fn registration(i: &Instance, alloc: &Alloc, state: &State) -> Value {
    let datacenter = state.node(alloc.node).map(|n| n.datacenter.clone()).unwrap_or_default();
    json!({
        "ID": i.id.as_str(),
        "ServiceName": i.service.as_str(),
        "Namespace": alloc.job.namespace.as_str(),
        "NodeID": alloc.node.to_string(),
        "Datacenter": datacenter,
        "JobID": alloc.job.id.as_str(),
        "AllocID": alloc.id.to_string(),
        "Tags": i.tags.iter().map(|t| t.as_ref()).collect::<Vec<&str>>(),
        "Address": state.address_of(i),
        "Port": i.port,
        "CreateIndex": i.create_index.0,
        "ModifyIndex": i.modify_index.0,
    })
}
