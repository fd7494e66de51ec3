//! Search answers: matches by context.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[must_use]
pub fn found(matches: &BTreeMap<&'static str, Vec<Value>>, truncated: &BTreeMap<&'static str, bool>) -> Value {
    json!({ "Matches": matches, "Truncations": truncated })
}

/// A fuzzy match: a name, and the ids that lead to it.
#[must_use]
pub fn row(name: &str, scope: Vec<String>) -> Value {
    json!({ "ID": name, "Scope": scope })
}
