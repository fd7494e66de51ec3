//! Lines of the event stream.

use model::Index;
use serde_json::{Map, Value, json};

/// What one event says.
pub struct Parts<'a> {
    pub topic: &'a str,
    pub kind: &'a str,
    pub key: &'a str,
    pub namespace: &'a str,
    pub filter_keys: &'a [String],
    pub index: Index,
    pub payload: &'a Value,
}

/// One event; its payload holds the object under the topic's name.
#[must_use]
pub fn one(e: &Parts<'_>) -> Value {
    let payload = Map::from_iter([(e.topic.to_owned(), e.payload.clone())]);
    json!({
        "Topic": e.topic, "Type": e.kind, "Key": e.key, "Namespace": e.namespace, "FilterKeys": e.filter_keys,
        "Index": e.index.0, "Payload": payload,
    })
}

/// The events up to one index.
#[must_use]
pub fn batch(index: Index, events: Vec<Value>) -> Value {
    json!({ "Index": index.0, "Events": events })
}
