//! Service instances as JSON: one shape for `catalog/service`, one for nodes and health, one for the agent.

use std::collections::BTreeMap;

use model::{
    catalog::{CatalogNode, Instance},
    driver_config,
};
use serde_json::{Value, json};

use super::node::extend;

fn tagged(addresses: &BTreeMap<String, (String, u16)>) -> Value {
    super::node::object(
        addresses.iter().map(|(k, (address, port))| (k.clone(), json!({"Address": address, "Port": port}))),
    )
}

fn weights(i: &Instance) -> Value {
    json!({"Passing": i.weights.passing, "Warning": i.weights.warning})
}

fn tags(i: &Instance) -> Vec<&str> {
    i.tags.iter().map(|t| &**t).collect()
}

/// A part of the registration that is kept but not acted on, or `default`.
fn foreign(i: &Instance, name: &str, default: Value) -> Value {
    match i.foreign.as_map().and_then(|m| m.get(name)) {
        None | Some(driver_config::Value::Null) => default,
        Some(v) => Value::from(v),
    }
}

fn proxy(i: &Instance) -> Value {
    foreign(i, "Proxy", json!({"Mode": "", "MeshGateway": {}, "Expose": {}, "TransparentProxy": {}}))
}

/// A row of `catalog/service/:name`.
pub fn catalog_service(n: &CatalogNode, i: &Instance) -> Value {
    let mut row = json!({
        "ID": n.id,
        "Node": n.name.as_str(),
        "Address": n.address,
        "Datacenter": n.datacenter,
        "TaggedAddresses": n.tagged_addresses,
        "NodeMeta": n.meta,
        "ServiceKind": i.kind,
        "ServiceID": i.id.as_str(),
        "ServiceName": i.service.as_str(),
        "ServiceTags": tags(i),
        "ServiceAddress": i.address,
        "ServiceWeights": weights(i),
        "ServiceMeta": i.meta,
        "ServicePort": i.port,
        "ServiceSocketPath": foreign(i, "SocketPath", json!("")),
        "ServiceEnableTagOverride": i.enable_tag_override,
        "ServiceProxy": proxy(i),
        "ServiceConnect": foreign(i, "Connect", json!({})),
        "CreateIndex": i.create_index.0,
        "ModifyIndex": i.modify_index.0,
    });
    if !i.tagged_addresses.is_empty() {
        extend(&mut row, [("ServiceTaggedAddresses", tagged(&i.tagged_addresses))]);
    }
    row
}

/// The `Service` object of nodes and health entries.
pub fn node_service(i: &Instance) -> Value {
    let mut service = json!({
        "ID": i.id.as_str(),
        "Service": i.service.as_str(),
        "Tags": tags(i),
        "Address": i.address,
        "Meta": i.meta,
        "Port": i.port,
        "Weights": weights(i),
        "EnableTagOverride": i.enable_tag_override,
        "Proxy": proxy(i),
        "Connect": foreign(i, "Connect", json!({})),
        "CreateIndex": i.create_index.0,
        "ModifyIndex": i.modify_index.0,
    });
    if !i.kind.is_empty() {
        extend(&mut service, [("Kind", json!(i.kind))]);
    }
    if !i.tagged_addresses.is_empty() {
        extend(&mut service, [("TaggedAddresses", tagged(&i.tagged_addresses))]);
    }
    service
}

/// An entry of `agent/services`.
pub fn agent_service(i: &Instance, datacenter: &str) -> Value {
    let mut service = json!({
        "ID": i.id.as_str(),
        "Service": i.service.as_str(),
        "Tags": tags(i),
        "Meta": i.meta,
        "Port": i.port,
        "Address": i.address,
        "Weights": weights(i),
        "EnableTagOverride": i.enable_tag_override,
        "Datacenter": datacenter,
    });
    if !i.kind.is_empty() {
        extend(&mut service, [("Kind", json!(i.kind)), ("Proxy", proxy(i))]);
    }
    if !i.tagged_addresses.is_empty() {
        extend(&mut service, [("TaggedAddresses", tagged(&i.tagged_addresses))]);
    }
    service
}
