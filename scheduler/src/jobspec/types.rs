//! Type constraints of variables: `string`, `list(number)`, `object({ … })`, and bringing values into them.

use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, ObjectKey};
use model::driver_config::Value;

use super::eval::{equal, place_of, text_of, type_name, whole};
use crate::spec::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Any,
    String,
    Number,
    Bool,
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    /// Each attribute with whether it may be left out.
    Object(BTreeMap<String, (Self, bool)>),
    Tuple(Vec<Self>),
}

const NAMES: &str = "string, number, bool, any, list(…), set(…), map(…), object({…}), tuple([…])";

impl Type {
    /// Read a type as it stands after `type =`.
    pub fn of(expr: &Expression) -> Result<Self, Error> {
        let wrong = || Error::new(&place_of(expr), format!("this is no type; a type is one of {NAMES}"));
        match expr {
            Expression::Variable(name) => Self::simple(name.as_str()).ok_or_else(wrong),
            Expression::String(name) => Self::simple(name.value()).ok_or_else(wrong),
            Expression::FuncCall(call) => {
                let arg = call.args.get(0).filter(|_| call.args.len() == 1).ok_or_else(wrong)?;
                match (call.name.name.as_str(), arg) {
                    ("list", t) => Ok(Self::List(Box::new(Self::of(t)?))),
                    ("set", t) => Ok(Self::Set(Box::new(Self::of(t)?))),
                    ("map", t) => Ok(Self::Map(Box::new(Self::of(t)?))),
                    ("tuple", Expression::Array(a)) => {
                        a.iter().map(Self::of).collect::<Result<_, _>>().map(Self::Tuple)
                    }
                    ("object", Expression::Object(o)) => Self::object(o).map(Self::Object),
                    _ => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }

    fn simple(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "number" => Self::Number,
            "bool" => Self::Bool,
            "any" => Self::Any,
            "list" => Self::List(Box::new(Self::Any)),
            "map" => Self::Map(Box::new(Self::Any)),
            _ => return None,
        })
    }

    fn object(o: &hcl_edit::expr::Object) -> Result<BTreeMap<String, (Self, bool)>, Error> {
        let mut fields = BTreeMap::new();
        for (key, value) in o {
            let name = match key {
                ObjectKey::Ident(id) => id.as_str().to_owned(),
                ObjectKey::Expression(Expression::String(s)) => s.value().clone(),
                ObjectKey::Expression(e) => return Err(Error::new(&place_of(e), "an attribute's name is plain text")),
            };
            let field = match value.expr() {
                Expression::FuncCall(c) if c.name.name.as_str() == "optional" => match c.args.get(0) {
                    Some(t) => (Self::of(t)?, true),
                    None => return Err(Error::new(&place_of(value.expr()), "optional(…) needs a type")),
                },
                t => (Self::of(t)?, false),
            };
            fields.insert(name, field);
        }
        Ok(fields)
    }

    /// Whether a value given as text is that text, and not an expression.
    pub const fn is_primitive(&self) -> bool {
        matches!(self, Self::String | Self::Number | Self::Bool)
    }

    /// The value as this type.
    ///
    /// # Errors
    /// Says what was expected and what was found.
    pub fn convert(&self, v: Value) -> Result<Value, String> {
        if v == Value::Null {
            return Ok(v);
        }
        match (self, v) {
            (Self::Any, v) => Ok(v),
            (Self::String, v) => {
                text_of(&v).map(Value::Str).ok_or_else(|| format!("expected text, found {}", type_name(&v)))
            }
            (Self::Number, Value::Str(s)) => parse_number(&s).ok_or_else(|| format!("{s:?} is not a number")),
            (Self::Number, v @ (Value::Int(_) | Value::Float(_))) => Ok(v),
            (Self::Bool, Value::Str(s)) => {
                s.parse().map(Value::Bool).map_err(|_| format!("{s:?} is neither true nor false"))
            }
            (Self::Bool, v @ Value::Bool(_)) => Ok(v),
            (Self::List(t), Value::List(l)) => convert_all(t, l).map(Value::List),
            (Self::Set(t), Value::List(l)) => convert_all(t, l).map(|l| Value::List(distinct(l))),
            (Self::Tuple(ts), Value::List(l)) if ts.len() == l.len() => {
                ts.iter().zip(l).map(|(t, v)| t.convert(v)).collect::<Result<_, _>>().map(Value::List)
            }
            (Self::Map(t), Value::Map(m)) => m
                .into_iter()
                .map(|(k, v)| t.convert(v).map(|v| (k.clone(), v)).map_err(|e| format!("{k:?}: {e}")))
                .collect::<Result<_, _>>()
                .map(Value::Map),
            (Self::Object(fields), Value::Map(m)) => convert_object(fields, m).map(Value::Map),
            (t, v) => Err(format!("expected {}, found {}", t.words(), type_name(&v))),
        }
    }

    const fn words(&self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::String => "text",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::List(_) | Self::Set(_) => "a list",
            Self::Tuple(_) => "a list of the declared length",
            Self::Map(_) | Self::Object(_) => "an object",
        }
    }
}

fn convert_all(t: &Type, l: Vec<Value>) -> Result<Vec<Value>, String> {
    l.into_iter().enumerate().map(|(i, v)| t.convert(v).map_err(|e| format!("element {i}: {e}"))).collect()
}

fn convert_object(
    fields: &BTreeMap<String, (Type, bool)>,
    mut m: BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Value>, String> {
    let mut out = BTreeMap::new();
    for (name, (t, optional)) in fields {
        match m.remove(name) {
            Some(v) => out.insert(name.clone(), t.convert(v).map_err(|e| format!("{name:?}: {e}"))?),
            None if *optional => out.insert(name.clone(), Value::Null),
            None => return Err(format!("the attribute {name:?} is missing")),
        };
    }
    Ok(out)
}

/// Values once each, in the order they first appear.
pub fn distinct(list: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for v in list {
        if !out.iter().any(|o| equal(o, &v)) {
            out.push(v);
        }
    }
    out
}

pub fn parse_number(s: &str) -> Option<Value> {
    let s = s.trim();
    s.parse().map(Value::Int).ok().or_else(|| s.parse().ok().filter(|f: &f64| f.is_finite()).map(whole))
}
