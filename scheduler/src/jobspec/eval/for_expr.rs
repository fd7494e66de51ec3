//! `for` over lists and objects.

use std::collections::BTreeMap;

use hcl_edit::{
    Ident,
    expr::{Expression, ForExpr},
};
use model::driver_config::Value;

use super::{Result, Scope, place_of, text_of, type_name};
use crate::spec::{Error, Place};

/// Names one round of a loop binds.
type Names = Vec<(String, Value)>;

/// The most rounds one loop may take.
pub const MAX_ROUNDS: usize = 10_000;

/// Keys and values of what a loop runs over.
pub fn pairs(collection: Value, place: &Place) -> Result<Vec<(Value, Value)>> {
    let pairs: Vec<_> = match collection {
        Value::List(l) => (0..).map(Value::Int).zip(l).collect(),
        Value::Map(m) => m.into_iter().map(|(k, v)| (Value::Str(k), v)).collect(),
        other => return Err(Error::new(place, format!("a loop needs a list or an object, not {}", type_name(&other)))),
    };
    if pairs.len() > MAX_ROUNDS {
        return Err(Error::new(place, format!("a loop may take at most {MAX_ROUNDS} rounds, not {}", pairs.len())));
    }
    Ok(pairs)
}

impl Scope<'_> {
    pub(super) fn iterations(&self, collection: &Expression, key: Option<&Ident>, value: &Ident) -> Result<Vec<Names>> {
        let place = place_of(collection);
        let rounds = pairs(self.eval(collection)?, &place)?.into_iter().map(|(k, v)| {
            let key = key.map(|name| (name.as_str().to_owned(), k));
            key.into_iter().chain([(value.as_str().to_owned(), v)]).collect()
        });
        Ok(rounds.collect())
    }

    pub(super) fn for_expr(&self, f: &ForExpr, place: &Place) -> Result<Value> {
        let intro = &f.intro;
        let mut list = Vec::new();
        let mut map: BTreeMap<String, Value> = BTreeMap::new();
        for names in self.iterations(&intro.collection_expr, intro.key_var.as_deref(), &intro.value_var)? {
            let inner = self.with(names);
            if let Some(cond) = &f.cond
                && !inner.condition(&cond.expr)?
            {
                continue;
            }
            let value = inner.eval(&f.value_expr)?;
            let Some(key_expr) = &f.key_expr else {
                list.push(value);
                continue;
            };
            let key = inner.eval(key_expr)?;
            let key = text_of(&key).ok_or_else(|| Error::new(&place_of(key_expr), "a key must be text"))?;
            if f.grouping {
                match map.entry(key).or_insert_with(|| Value::List(Vec::new())) {
                    Value::List(l) => l.push(value),
                    _ => unreachable!("grouping only ever inserts lists"),
                }
            } else if map.insert(key.clone(), value).is_some() {
                let hint = "add \"...\" after the value to group values of one key";
                return Err(Error::new(place, format!("this loop makes the key {key:?} twice; {hint}")));
            }
        }
        Ok(if f.key_expr.is_some() { Value::Map(map) } else { Value::List(list) })
    }
}
