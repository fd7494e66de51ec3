//! Nodes as JSON.

use model::catalog::CatalogNode;
use serde_json::{Map, Value, json};

pub fn node(n: &CatalogNode) -> Value {
    json!({
        "ID": n.id,
        "Node": n.name.as_str(),
        "Address": n.address,
        "Datacenter": n.datacenter,
        "TaggedAddresses": n.tagged_addresses,
        "Meta": n.meta,
        "CreateIndex": n.create_index.0,
        "ModifyIndex": n.modify_index.0,
    })
}

/// Put pairs into an object.
pub fn extend(object: &mut Value, more: impl IntoIterator<Item = (&'static str, Value)>) {
    if let Value::Object(map) = object {
        map.extend(more.into_iter().map(|(k, v)| (k.to_owned(), v)));
    }
}

/// An object from pairs, in any order.
pub fn object(pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Object(pairs.into_iter().collect::<Map<_, _>>())
}
