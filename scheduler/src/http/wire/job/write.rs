//! A tree to JSON: every field the table knows, `null` where nothing is set.

use serde_json::{Map, Value, json};

use crate::spec::{
    Block, Data, duration,
    schema::{self, FieldSpec, Label, Schema, Ty},
};

pub fn job(tree: &Block) -> Value {
    block(tree, &schema::JOB)
}

fn block(b: &Block, schema: &'static Schema) -> Value {
    let mut out = Map::new();
    if let Label::Required(api) | Label::Optional(api) = schema.label {
        out.insert(api.to_owned(), Value::String(b.label().to_owned()));
    }
    for spec in schema.fields.iter().filter(|f| !f.api.is_empty()) {
        let value = b.fields.get(spec.hcl).map_or_else(|| unset(spec), |f| data(&f.data, spec));
        out.insert(spec.api.to_owned(), value);
    }
    Value::Object(out)
}

/// What a field says when nothing is set.
fn unset(spec: &FieldSpec) -> Value {
    match spec.ty {
        Ty::Str => Value::String(String::new()),
        Ty::Int | Ty::Duration => json!(0),
        Ty::Bool => Value::Bool(false),
        _ => Value::Null,
    }
}

fn data(data: &Data, spec: &FieldSpec) -> Value {
    match data {
        Data::Str(s) => Value::String(s.clone()),
        Data::Int(i) => json!(i),
        Data::Float(f) => json!(f),
        Data::Bool(b) => Value::Bool(*b),
        Data::Duration(d) => json!(duration::to_nanos(*d)),
        Data::Strings(l) if l.is_empty() => Value::Null,
        Data::Strings(l) => json!(l),
        Data::Map(m) if m.is_empty() => Value::Null,
        Data::Map(m) => json!(m),
        Data::Lists(m) if m.is_empty() => Value::Null,
        Data::Lists(m) => json!(m),
        Data::Any(v) => Value::from(v),
        Data::Blocks(blocks) => match spec.ty {
            Ty::One(s) => blocks.first().map_or(Value::Null, |b| block(b, s)),
            Ty::Keyed(s) => Value::Object(blocks.iter().map(|b| (b.label().to_owned(), block(b, s))).collect()),
            Ty::Many(s) => Value::Array(blocks.iter().map(|b| block(b, s)).collect()),
            _ => Value::Null,
        },
    }
}
