//! Blocks Trine reads but does not act on: taken out of a tree into [`InertBlock`]s, and put back.
//!
//! A place reads `group "web" > task "server"`; it is both what messages say and the key that puts a block back.

use std::collections::BTreeMap;

use model::{driver_config::Value, job::InertBlock};

use super::{
    schema::{FieldSpec, Role, Schema, Ty},
    tree::{Block, Data},
};

const LABEL: &str = "label";

/// Every inert field below `block`, in table order.
pub fn collect(block: &Block, schema: &'static Schema, place: &str, out: &mut Vec<InertBlock>) {
    for spec in schema.fields {
        let Some(field) = block.fields.get(spec.hcl) else { continue };
        if spec.role == Role::Acts {
            let Some(child) = spec.child() else { continue };
            for (i, b) in block.blocks(spec.hcl).iter().enumerate() {
                collect(b, child, &child_place(place, spec, b, i), out);
            }
            continue;
        }
        let mut keep = |body: Value| {
            out.push(InertBlock { kind: spec.hcl.to_owned(), place: place.to_owned(), body });
        };
        match &field.data {
            Data::Blocks(blocks) => blocks.iter().for_each(|b| keep(value_of_block(b))),
            data if is_default(data) => {}
            data => keep(value_of(data)),
        }
    }
}

/// Put the inert fields back where they stood.
pub fn scatter(block: &mut Block, schema: &'static Schema, place: &str, inert: &[InertBlock]) {
    for spec in schema.fields {
        if spec.role == Role::Acts {
            let (Some(child), Some(field)) = (spec.child(), block.fields.get_mut(spec.hcl)) else { continue };
            let Data::Blocks(blocks) = &mut field.data else { continue };
            for (i, b) in blocks.iter_mut().enumerate() {
                let at = child_place(place, spec, b, i);
                scatter(b, child, &at, inert);
            }
            continue;
        }
        let bodies: Vec<&Value> =
            inert.iter().filter(|b| b.kind == spec.hcl && b.place == place).map(|b| &b.body).collect();
        let Some(first) = bodies.first() else { continue };
        let data = match spec.child() {
            Some(child) => Data::Blocks(bodies.iter().map(|v| block_of(v, child)).collect()),
            None => data_of(first, spec.ty),
        };
        block.set(spec.hcl, data);
    }
}

/// How a child block is called in messages.
pub fn child_place(parent: &str, spec: &FieldSpec, block: &Block, index: usize) -> String {
    let own = match (&block.label, block.str("name"), spec.ty) {
        (Some(label), _, _) => format!("{} {label:?}", spec.hcl),
        (None, Some(name), Ty::Many(_)) if spec.hcl == "service" => format!("{} {name:?}", spec.hcl),
        (None, _, Ty::Many(_)) => format!("{} #{}", spec.hcl, index + 1),
        _ => spec.hcl.to_owned(),
    };
    if parent.is_empty() { own } else { format!("{parent} > {own}") }
}

/// What a client that knows a field but left it alone sends.
fn is_default(data: &Data) -> bool {
    match data {
        Data::Str(s) => s.is_empty() || s == "private",
        Data::Int(i) => *i == 0,
        Data::Float(f) => *f == 0.0,
        Data::Bool(b) => !b,
        Data::Duration(d) => d.is_zero(),
        Data::Strings(s) => s.is_empty(),
        Data::Map(m) => m.is_empty(),
        Data::Lists(m) => m.is_empty(),
        Data::Any(v) => *v == Value::Null,
        Data::Blocks(b) => b.is_empty(),
    }
}

fn strings(list: &[String]) -> Value {
    Value::List(list.iter().cloned().map(Value::Str).collect())
}

fn value_of(data: &Data) -> Value {
    match data {
        Data::Str(s) => Value::Str(s.clone()),
        Data::Int(i) => Value::Int(*i),
        Data::Float(f) => Value::Float(*f),
        Data::Bool(b) => Value::Bool(*b),
        Data::Duration(d) => Value::Int(super::duration::to_nanos(*d)),
        Data::Strings(s) => strings(s),
        Data::Map(m) => Value::Map(m.iter().map(|(k, v)| (k.clone(), Value::Str(v.clone()))).collect()),
        Data::Lists(m) => Value::Map(m.iter().map(|(k, v)| (k.clone(), strings(v))).collect()),
        Data::Any(v) => v.clone(),
        Data::Blocks(b) => Value::List(b.iter().map(value_of_block).collect()),
    }
}

fn value_of_block(block: &Block) -> Value {
    let set = block.fields.iter().filter(|(_, f)| !is_default(&f.data));
    let mut map: BTreeMap<String, Value> = set.map(|(k, f)| ((*k).to_owned(), value_of(&f.data))).collect();
    if let Some(label) = &block.label {
        map.insert(LABEL.to_owned(), Value::Str(label.clone()));
    }
    Value::Map(map)
}

fn block_of(value: &Value, schema: &'static Schema) -> Block {
    let mut block = Block::default();
    let Value::Map(map) = value else { return block };
    for (key, v) in map {
        if let Some(spec) = schema.field(key) {
            block.set(spec.hcl, data_of(v, spec.ty));
        } else if let (LABEL, Value::Str(s)) = (key.as_str(), v) {
            block.label = Some(s.clone());
        }
    }
    block
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::List(l) => l.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// The inverse of `value_of`; the value was written by it, so other shapes do not occur.
fn data_of(value: &Value, ty: Ty) -> Data {
    let int = || if let Value::Int(i) = value { *i } else { 0 };
    match ty {
        Ty::Str => Data::Str(value.as_str().unwrap_or_default().to_owned()),
        Ty::Int => Data::Int(int()),
        Ty::Bool => Data::Bool(*value == Value::Bool(true)),
        Ty::Duration => Data::Duration(super::duration::from_nanos(int()).unwrap_or_default()),
        Ty::Strings => Data::Strings(texts(value)),
        Ty::Map => Data::Map(
            value
                .as_map()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                .collect(),
        ),
        Ty::Lists => Data::Lists(value.as_map().into_iter().flatten().map(|(k, v)| (k.clone(), texts(v))).collect()),
        Ty::Any => Data::Any(value.clone()),
        Ty::One(s) | Ty::Many(s) | Ty::Keyed(s) => Data::Blocks(match value {
            Value::List(l) => l.iter().map(|v| block_of(v, s)).collect(),
            _ => Vec::new(),
        }),
    }
}
