//! Lists and objects.

use std::collections::BTreeMap;

use model::driver_config::Value;

use super::{Answer, Args, Function, list_of};
use crate::jobspec::{
    eval::{equal, text_of, whole},
    types::distinct,
};

/// What `range` may make at most.
const MAX_RANGE: usize = 1024;

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("chunklist", chunklist),
    ("coalesce", |a| {
        let empty = |v: &Value| *v == Value::Null || v.as_str() == Some("");
        a.values.iter().find(|v| !empty(v)).cloned().ok_or_else(|| a.fail("every argument is empty"))
    }),
    ("coalescelist", |a| {
        for v in a.values {
            if !a.list(v)?.is_empty() {
                return Ok(v.clone());
            }
        }
        Err(a.fail("every list is empty"))
    }),
    ("compact", |a| Ok(list_of(a.texts(a.exactly::<1>()?[0])?.into_iter().filter(|s| !s.is_empty())))),
    ("concat", |a| {
        let lists: Result<Vec<_>, _> = a.values.iter().map(|v| a.list(v)).collect();
        Ok(Value::List(lists?.concat()))
    }),
    ("contains", |a| {
        let [list, v] = a.exactly()?;
        Ok(Value::Bool(a.list(list)?.iter().any(|x| equal(x, v))))
    }),
    ("distinct", |a| Ok(Value::List(distinct(a.list(a.exactly::<1>()?[0])?.to_vec())))),
    ("element", element),
    ("flatten", |a| {
        let mut out = Vec::new();
        flatten(a.list(a.exactly::<1>()?[0])?, &mut out);
        Ok(Value::List(out))
    }),
    ("index", |a| {
        let [list, v] = a.exactly()?;
        let found = a.list(list)?.iter().position(|x| equal(x, v));
        found.map(count).ok_or_else(|| a.fail("the list does not hold this value"))
    }),
    ("keys", |a| Ok(list_of(a.map(a.exactly::<1>()?[0])?.keys().cloned()))),
    ("length", |a| match a.exactly()? {
        [Value::Map(m)] => Ok(count(m.len())),
        [Value::Str(s)] => Ok(count(s.chars().count())),
        [v] => Ok(count(a.list(v)?.len())),
    }),
    ("lookup", lookup),
    ("merge", |a| {
        let mut out = BTreeMap::new();
        for v in a.values.iter().filter(|v| **v != Value::Null) {
            out.extend(a.map(v)?.clone());
        }
        Ok(Value::Map(out))
    }),
    ("range", range),
    ("slice", slice),
    ("sort", |a| {
        let mut all = a.texts(a.exactly::<1>()?[0])?;
        all.sort();
        Ok(list_of(all))
    }),
    ("values", |a| Ok(Value::List(a.map(a.exactly::<1>()?[0])?.values().cloned().collect()))),
    ("zipmap", |a| {
        let [keys, values] = a.exactly()?;
        let (keys, values) = (a.texts(keys)?, a.list(values)?);
        if keys.len() != values.len() {
            return Err(a.fail(format!("{} keys for {} values", keys.len(), values.len())));
        }
        Ok(Value::Map(keys.into_iter().zip(values.iter().cloned()).collect()))
    }),
];

fn count(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn chunklist(a: &Args<'_>) -> Answer {
    let [list, size] = a.exactly()?;
    let (list, size) = (a.list(list)?, a.int(size)?);
    match usize::try_from(size) {
        Ok(0) => Ok(Value::List(vec![Value::List(list.to_vec())])),
        Ok(n) => Ok(Value::List(list.chunks(n).map(|c| Value::List(c.to_vec())).collect())),
        Err(_) => Err(a.fail("the size must not be negative")),
    }
}

/// Indexes beyond the end start over.
fn element(a: &Args<'_>) -> Answer {
    let [list, i] = a.exactly()?;
    let (list, i) = (a.list(list)?, a.int(i)?);
    let i = usize::try_from(i).map_err(|_| a.fail("the index must not be negative"))?;
    if list.is_empty() {
        return Err(a.fail("the list is empty"));
    }
    Ok(list[i % list.len()].clone())
}

fn flatten(list: &[Value], out: &mut Vec<Value>) {
    for v in list {
        match v {
            Value::List(inner) => flatten(inner, out),
            other => out.push(other.clone()),
        }
    }
}

fn lookup(a: &Args<'_>) -> Answer {
    let all = a.at_least(2)?;
    let key = a.text(&all[1])?;
    match (a.map(&all[0])?.get(&key), all.get(2)) {
        (Some(v), _) => Ok(v.clone()),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(a.fail(format!("there is no key {key:?}, and no default is given"))),
    }
}

fn range(a: &Args<'_>) -> Answer {
    let n: Vec<f64> = a.at_least(1)?.iter().map(|v| a.float(v)).collect::<Result<_, _>>()?;
    let (start, end) = if n.len() == 1 { (0.0, n[0]) } else { (n[0], n[1]) };
    let step = n.get(2).copied().unwrap_or(if end < start { -1.0 } else { 1.0 });
    if n.len() > 3 || step == 0.0 || (end - start) * step < 0.0 {
        return Err(a.fail("takes an end, or a start, an end and a step that leads from one to the other"));
    }
    let mut out = Vec::new();
    let mut at = start;
    while if step > 0.0 { at < end } else { at > end } {
        if out.len() == MAX_RANGE {
            return Err(a.fail(format!("makes more than {MAX_RANGE} numbers")));
        }
        out.push(whole(at));
        at += step;
    }
    Ok(Value::List(out))
}

fn slice(a: &Args<'_>) -> Answer {
    let [list, start, end] = a.exactly()?;
    let (list, start, end) = (a.list(list)?, a.int(start)?, a.int(end)?);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let part = range.and_then(|(s, e)| list.get(s..e));
    let part = part.ok_or_else(|| a.fail(format!("{start} to {end} is outside a list of {}", list.len())))?;
    Ok(Value::List(part.to_vec()))
}

/// The text form of a value, for sorting sets.
pub fn sort_key(v: &Value) -> String {
    text_of(v).unwrap_or_else(|| format!("{v:?}"))
}
