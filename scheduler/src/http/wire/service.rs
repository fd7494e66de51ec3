//! Native service registrations in Nomad's JSON: the catalog's instances that come from allocations.

use model::{Alloc, State, catalog::Instance};
use serde_json::{Value, json};

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
