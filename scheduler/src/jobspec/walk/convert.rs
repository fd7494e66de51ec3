//! Values become typed fields. Numbers and texts turn into each other where HCL lets them; nothing else does.

use std::collections::BTreeMap;

use model::driver_config::Value;

use crate::{
    jobspec::eval::{text_of, type_name},
    spec::{
        Block, Data, Error, Field, Place, duration,
        schema::{FieldSpec, Label, Schema, Ty},
        suggest,
    },
};

type Result<T> = std::result::Result<T, Error>;

/// The field's data; `None` when the value is null, which means unset.
pub fn data_of_value(value: &Value, spec: &FieldSpec, place: &Place) -> Result<Option<Data>> {
    if *value == Value::Null {
        return Ok(None);
    }
    let wrong = |wanted: &str, v: &Value| {
        Error::new(place, format!("\"{}\" must be {wanted}, but it is {}", spec.hcl, type_name(v)))
    };
    Ok(Some(match spec.ty {
        Ty::Str => Data::Str(text_of(value).ok_or_else(|| wrong("text", value))?),
        Ty::Int => Data::Int(whole_number(value).ok_or_else(|| wrong("a whole number", value))?),
        Ty::Bool => Data::Bool(truth(value).ok_or_else(|| wrong("true or false", value))?),
        Ty::Duration => Data::Duration(
            match value {
                Value::Int(n) => duration::from_nanos(*n),
                Value::Str(s) => duration::parse(s),
                other => return Err(wrong("a duration such as \"30s\"", other)),
            }
            .map_err(|e| Error::new(place, format!("\"{}\": {e}", spec.hcl)))?,
        ),
        Ty::Strings => Data::Strings(texts(value).ok_or_else(|| wrong("a list of texts", value))?),
        Ty::Map => {
            let map = one_map(value).ok_or_else(|| wrong("an object", value))?;
            let texts: Result<_> = map
                .iter()
                .filter(|(_, v)| **v != Value::Null)
                .map(|(k, v)| Ok((k.clone(), text_of(v).ok_or_else(|| wrong("an object of texts", v))?)))
                .collect();
            Data::Map(texts?)
        }
        Ty::Lists => {
            let map = one_map(value).ok_or_else(|| wrong("an object", value))?;
            let lists: Result<_> = map
                .iter()
                .map(|(k, v)| {
                    let one = || text_of(v).map(|t| vec![t]);
                    Ok((k.clone(), texts(v).or_else(one).ok_or_else(|| wrong("an object of lists of texts", v))?))
                })
                .collect();
            Data::Lists(lists?)
        }
        Ty::Any => Data::Any(value.clone()),
        Ty::One(schema) => {
            let map = one_map(value).ok_or_else(|| wrong("a block", value))?;
            Data::Blocks(vec![block_of_value(map, schema, place)?])
        }
        Ty::Many(_) | Ty::Keyed(_) => return Err(wrong("a block", value)),
    }))
}

/// An object where a block is expected, with the names checked like those of a block.
fn block_of_value(map: &BTreeMap<String, Value>, schema: &'static Schema, place: &Place) -> Result<Block> {
    let mut out = Block::at(place.clone());
    for (name, v) in map {
        let spec = schema.field(name).filter(|f| !f.hcl.starts_with('@')).ok_or_else(|| {
            let hint = suggest::hint(name, schema.names());
            Error::new(place, format!("\"{}\" has no attribute {name:?}.{hint}", schema.name))
        })?;
        let data = match spec.ty {
            Ty::Many(child) | Ty::Keyed(child) => Some(Data::Blocks(blocks_of_value(v, child, place)?)),
            _ => data_of_value(v, spec, place)?,
        };
        if let Some(data) = data {
            out.fields.insert(spec.hcl, Field { place: place.clone(), data });
        }
    }
    Ok(out)
}

/// Blocks written as objects: by label when the kind has one, or a list.
pub fn blocks_of_value(v: &Value, schema: &'static Schema, place: &Place) -> Result<Vec<Block>> {
    let wrong = || Error::new(place, format!("\"{}\" must be an object or a list of objects", schema.name));
    match v {
        Value::List(l) => {
            let all: Result<Vec<_>> = l.iter().map(|v| blocks_of_value(v, schema, place)).collect();
            Ok(all?.into_iter().flatten().collect())
        }
        Value::Map(m) if schema.label == Label::None => Ok(vec![block_of_value(m, schema, place)?]),
        Value::Map(m) => m
            .iter()
            .map(|(label, body)| {
                let map = one_map(body).ok_or_else(wrong)?;
                Ok(Block { label: Some(label.clone()), ..block_of_value(map, schema, place)? })
            })
            .collect(),
        _ => Err(wrong()),
    }
}

/// An object, or a list that holds one, as blocks written in JSON do.
fn one_map(v: &Value) -> Option<&BTreeMap<String, Value>> {
    match v {
        Value::Map(m) => Some(m),
        Value::List(l) => match l.as_slice() {
            [Value::Map(m)] => Some(m),
            _ => None,
        },
        _ => None,
    }
}

fn whole_number(v: &Value) -> Option<i64> {
    match v {
        Value::Int(i) => Some(*i),
        Value::Str(s) => s.trim().parse().ok(),
        _ => None,
    }
}

fn truth(v: &Value) -> Option<bool> {
    match v {
        Value::Bool(b) => Some(*b),
        Value::Str(s) => s.parse().ok(),
        _ => None,
    }
}

fn texts(v: &Value) -> Option<Vec<String>> {
    match v {
        Value::List(l) => l.iter().map(text_of).collect(),
        _ => None,
    }
}
