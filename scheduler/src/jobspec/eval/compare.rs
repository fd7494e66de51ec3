//! Values as people name them, as text, and whether two are the same.

use model::driver_config::Value;

/// "a list", "text": for messages.
pub const fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::Str(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "an object",
    }
}

/// A primitive as text; `None` for null, lists and objects.
pub fn text_of(v: &Value) -> Option<String> {
    match v {
        Value::Str(s) => Some(s.clone()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Int(i) => Some(i.to_string()),
        Value::Float(f) => Some(f.to_string()),
        _ => None,
    }
}

/// Equality of values: numbers by amount, everything else by type and content.
#[allow(clippy::float_cmp, reason = "HCL compares numbers exactly")]
#[allow(clippy::cast_precision_loss, reason = "comparing a fraction with a whole number")]
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(i), Value::Float(f)) | (Value::Float(f), Value::Int(i)) => *i as f64 == *f,
        (Value::List(x), Value::List(y)) => x.len() == y.len() && x.iter().zip(y).all(|(p, q)| equal(p, q)),
        _ => a == b,
    }
}
