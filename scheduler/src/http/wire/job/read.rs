//! JSON to a tree.

use model::driver_config;
use serde_json::Value;

use crate::spec::{
    Block, Data, Error, Field, Place, duration,
    schema::{self, FieldSpec, Label, Schema, Ty},
};

type Result<T> = std::result::Result<T, Error>;

/// Driver configurations may nest; nothing meant for a driver nests deeper.
const MAX_DEPTH: usize = 64;

pub fn job(json: &Value) -> Result<Block> {
    block(json, &schema::JOB, "")
}

fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong(path: &str, wanted: &str, v: &Value) -> Error {
    Error::new(&Place::Path(path.to_owned()), format!("expected {wanted}, found {}", type_name(v)))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn block(json: &Value, schema: &'static Schema, path: &str) -> Result<Block> {
    let Value::Object(object) = json else { return Err(wrong(path, "an object", json)) };
    let mut out = Block::at(Place::Path(path.to_owned()));
    if let Label::Required(api) | Label::Optional(api) = schema.label {
        let at = join(path, api);
        out.label = match get(object, api) {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(s)) => Some(s.clone()),
            Some(other) => return Err(wrong(&at, "a string", other)),
        };
    }
    for spec in schema.fields.iter().filter(|f| !f.api.is_empty()) {
        let Some(value) = get(object, spec.api).filter(|v| !v.is_null()) else { continue };
        let at = join(path, spec.api);
        let data = data(value, spec, &at)?;
        out.fields.insert(spec.hcl, Field { place: Place::Path(at), data });
    }
    Ok(out)
}

/// A member by its name, or by its name in another case, as Go reads JSON.
fn get<'a>(object: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

fn data(v: &Value, spec: &FieldSpec, path: &str) -> Result<Data> {
    Ok(match spec.ty {
        Ty::Str => Data::Str(text(v, path)?),
        Ty::Int => Data::Int(int(v, path)?),
        Ty::Bool => Data::Bool(v.as_bool().ok_or_else(|| wrong(path, "true or false", v))?),
        Ty::Duration => Data::Duration(
            match v {
                Value::String(s) if s.is_empty() => duration::from_nanos(0),
                Value::String(s) => duration::parse(s),
                _ => duration::from_nanos(int(v, path)?),
            }
            .map_err(|e| Error::new(&Place::Path(path.to_owned()), e.to_string()))?,
        ),
        Ty::Strings => Data::Strings(texts(v, path)?),
        Ty::Map => {
            Data::Map(object(v, path)?.map(|(k, v)| Ok((k.clone(), text(v, &join(path, k))?))).collect::<Result<_>>()?)
        }
        Ty::Lists => Data::Lists(
            object(v, path)?.map(|(k, v)| Ok((k.clone(), texts(v, &join(path, k))?))).collect::<Result<_>>()?,
        ),
        Ty::Any => {
            if depth(v) > MAX_DEPTH {
                return Err(Error::new(
                    &Place::Path(path.to_owned()),
                    format!("nested deeper than {MAX_DEPTH} levels"),
                ));
            }
            Data::Any(driver_config::Value::from(v))
        }
        Ty::One(s) => Data::Blocks(vec![block(v, s, path)?]),
        Ty::Many(s) => Data::Blocks(many(v, s, path)?),
        Ty::Keyed(s) => Data::Blocks(
            object(v, path)?
                .map(|(k, v)| Ok(Block { label: Some(k.clone()), ..block(v, s, &format!("{path}[{k:?}]"))? }))
                .collect::<Result<_>>()?,
        ),
    })
}

/// A list of objects; nulls among them are skipped. Fixed ports that are 0 would mean "none given".
fn many(v: &Value, schema: &'static Schema, path: &str) -> Result<Vec<Block>> {
    let Value::Array(list) = v else { return Err(wrong(path, "a list", v)) };
    let blocks = list.iter().enumerate().filter(|(_, v)| !v.is_null());
    blocks.map(|(i, v)| block(v, schema, &format!("{path}[{i}]"))).collect()
}

fn object<'a>(v: &'a Value, path: &str) -> Result<impl Iterator<Item = (&'a String, &'a Value)> + use<'a>> {
    v.as_object().map(serde_json::Map::iter).ok_or_else(|| wrong(path, "an object", v))
}

fn text(v: &Value, path: &str) -> Result<String> {
    v.as_str().map(str::to_owned).ok_or_else(|| wrong(path, "a string", v))
}

fn texts(v: &Value, path: &str) -> Result<Vec<String>> {
    let Value::Array(list) = v else { return Err(wrong(path, "a list of strings", v)) };
    list.iter().enumerate().map(|(i, v)| text(v, &format!("{path}[{i}]"))).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "the range is checked first")]
fn int(v: &Value, path: &str) -> Result<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = v.as_i64().or_else(|| v.as_f64().filter(|f| f.fract() == 0.0 && f.abs() <= EXACT).map(|f| f as i64));
    whole.ok_or_else(|| wrong(path, "a whole number", v))
}

fn depth(v: &Value) -> usize {
    match v {
        Value::Array(l) => 1 + l.iter().map(depth).max().unwrap_or(0),
        Value::Object(o) => 1 + o.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
