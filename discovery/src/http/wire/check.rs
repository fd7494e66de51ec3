//! Checks as JSON.

use model::{
    NodeName,
    catalog::{CatalogNode, Check, Instance},
    driver_config,
};
use serde_json::{Value, json};

use crate::http::duration;

/// A `HealthCheck`; `owner` is the instance it belongs to, none for a check of the node.
pub fn check(node: &NodeName, owner: Option<&Instance>, c: &Check) -> Value {
    let time = |d: std::time::Duration| if d.is_zero() { String::new() } else { duration::text(d) };
    let definition = match &c.foreign_definition {
        driver_config::Value::Null => json!({}),
        v => Value::from(v),
    };
    let tags: Vec<&str> = owner.map(|i| i.tags.iter().map(|t| &**t).collect()).unwrap_or_default();
    json!({
        "Node": node.as_str(),
        "CheckID": c.id.as_str(),
        "Name": c.name,
        "Status": c.verdict.as_str(),
        "Notes": c.notes,
        "Output": c.output,
        "ServiceID": owner.map_or("", |i| i.id.as_str()),
        "ServiceName": owner.map_or("", |i| i.service.as_str()),
        "ServiceTags": tags,
        "Type": c.kind,
        "Interval": c.definition.as_ref().map_or_else(String::new, |d| time(d.interval)),
        "Timeout": c.definition.as_ref().map_or_else(String::new, |d| time(d.timeout)),
        "ExposedPort": 0,
        "Definition": definition,
        "CreateIndex": c.create_index.0,
        "ModifyIndex": c.modify_index.0,
    })
}

/// The checks of a node as a whole.
pub fn of_node(n: &CatalogNode) -> impl Iterator<Item = Value> {
    n.checks.values().map(|c| check(&n.name, None, c))
}

/// The checks of an instance.
pub fn of_instance(i: &Instance) -> impl Iterator<Item = Value> {
    i.checks.values().map(|c| check(&i.node, Some(i), c))
}
