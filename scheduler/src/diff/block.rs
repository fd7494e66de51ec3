//! Two blocks of one kind, field by field.

use std::collections::{BTreeMap, BTreeSet};

use model::driver_config::Value;

use super::{DiffKind, FieldDiff, ObjectDiff, object_name, skipped};
use crate::spec::{
    Block, Data, duration,
    schema::{FieldSpec, Label, Schema, Ty},
};

/// The changes inside one block.
#[derive(Debug, Default)]
pub struct Parts {
    pub fields: Vec<FieldDiff>,
    pub objects: Vec<ObjectDiff>,
}

impl Parts {
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.objects.is_empty()
    }

    fn field(&mut self, name: String, old: Option<String>, new: Option<String>) {
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let kind = match (old.as_str(), new.as_str()) {
            (a, b) if a == b => return,
            ("", _) => DiffKind::Added,
            (_, "") => DiffKind::Deleted,
            _ => DiffKind::Edited,
        };
        self.fields.push(FieldDiff { kind, name, old, new, annotations: Vec::new() });
    }

    fn texts(&mut self, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            self.field(name.clone(), old.get(name).cloned(), new.get(name).cloned());
        }
    }

    fn object(&mut self, name: &str, kind: DiffKind, inner: Self) {
        if kind == DiffKind::None && inner.is_empty() {
            return;
        }
        let kind = if kind == DiffKind::None { DiffKind::Edited } else { kind };
        self.objects.push(ObjectDiff { kind, name: name.to_owned(), fields: inner.fields, objects: inner.objects });
    }

    fn sorted(mut self) -> Self {
        self.fields.sort_by(|a, b| a.name.cmp(&b.name));
        self.objects.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
        self
    }
}

/// Compare two blocks; an absent one has no fields.
pub fn parts(schema: &'static Schema, old: Option<&Block>, new: Option<&Block>) -> Parts {
    let mut out = Parts::default();
    for spec in schema.fields.iter().filter(|s| !skipped(schema, s)) {
        let get = |b: Option<&Block>| b.and_then(|b| b.fields.get(spec.hcl)).map(|f| f.data.clone());
        field(spec, get(old), get(new), &mut out);
    }
    if let Label::Required(api) = schema.label
        && !matches!(schema.name, "job" | "group" | "task")
    {
        out.field(api.to_owned(), old.map(|b| b.label().to_owned()), new.map(|b| b.label().to_owned()));
    }
    out.sorted()
}

fn field(spec: &'static FieldSpec, old: Option<Data>, new: Option<Data>, out: &mut Parts) {
    if old == new {
        return;
    }
    match spec.ty {
        Ty::Str | Ty::Int | Ty::Bool | Ty::Duration => {
            out.field(spec.api.to_owned(), old.as_ref().map(text), new.as_ref().map(text));
        }
        Ty::Map => {
            let mut inner = Parts::default();
            inner.texts(&map(spec, old), &map(spec, new));
            out.fields.extend(inner.fields);
        }
        Ty::Strings => {
            let (old, new) = (strings(old), strings(new));
            let mut inner = Parts::default();
            old.difference(&new).for_each(|s| inner.field(spec.api.to_owned(), Some(s.clone()), None));
            new.difference(&old).for_each(|s| inner.field(spec.api.to_owned(), None, Some(s.clone())));
            out.object(spec.api, DiffKind::of(some(&old), some(&new)), inner);
        }
        Ty::Lists | Ty::Any => {
            let (old, new) = (flat(old), flat(new));
            let mut inner = Parts::default();
            inner.texts(&old, &new);
            out.object(spec.api, DiffKind::of(some(&old), some(&new)), inner);
        }
        Ty::One(schema) | Ty::Many(schema) | Ty::Keyed(schema) => {
            let (old, new) = (children(old), children(new));
            for (o, n) in pairs(&old, &new) {
                if o.zip(n).is_some_and(|(o, n)| same(o, n)) {
                    continue;
                }
                out.object(object_name(spec.api), DiffKind::of(o, n), parts(schema, o, n));
            }
        }
    }
}

/// `Some` for a collection that holds something.
fn some<'a, T, I>(collection: &'a T) -> Option<()>
where
    &'a T: IntoIterator<Item = I>,
{
    collection.into_iter().next().map(|_| ())
}

fn same(a: &Block, b: &Block) -> bool {
    a.label == b.label && a.fields.iter().map(|(k, f)| (k, &f.data)).eq(b.fields.iter().map(|(k, f)| (k, &f.data)))
}

/// Blocks that belong together: by label, else by name, else equal ones; what is left over in order when the kind
/// appears once on each side.
pub fn pairs<'a>(old: &'a [Block], new: &'a [Block]) -> Vec<(Option<&'a Block>, Option<&'a Block>)> {
    let key = |b: &Block| b.label.clone().or_else(|| b.str("name").map(str::to_owned));
    let mut left: Vec<&Block> = new.iter().collect();
    let mut out: Vec<(Option<&Block>, Option<&Block>)> = Vec::new();
    let mut alone: Vec<&Block> = Vec::new();
    for o in old {
        let matches = |n: &&Block| if key(o).is_some() { key(n) == key(o) } else { same(o, n) };
        match left.iter().position(matches) {
            Some(i) => out.push((Some(o), Some(left.remove(i)))),
            None => alone.push(o),
        }
    }
    let nameless = |b: &&Block| key(b).is_none();
    if let ([o], [n]) = (alone.as_slice(), left.as_slice())
        && nameless(o)
        && nameless(n)
    {
        out.push((Some(*o), Some(*n)));
        return out;
    }
    out.extend(alone.into_iter().map(|o| (Some(o), None)));
    out.extend(left.into_iter().map(|n| (None, Some(n))));
    out
}

fn text(data: &Data) -> String {
    match data {
        Data::Str(s) => s.clone(),
        Data::Int(i) => i.to_string(),
        Data::Float(f) => f.to_string(),
        Data::Bool(b) => b.to_string(),
        Data::Duration(d) => duration::to_nanos(*d).to_string(),
        _ => String::new(),
    }
}

fn map(spec: &FieldSpec, data: Option<Data>) -> BTreeMap<String, String> {
    match data {
        Some(Data::Map(m)) => m.into_iter().map(|(k, v)| (format!("{}[{k}]", spec.api), v)).collect(),
        _ => BTreeMap::new(),
    }
}

fn strings(data: Option<Data>) -> BTreeSet<String> {
    match data {
        Some(Data::Strings(s)) => s.into_iter().collect(),
        _ => BTreeSet::new(),
    }
}

fn children(data: Option<Data>) -> Vec<Block> {
    match data {
        Some(Data::Blocks(b)) => b,
        _ => Vec::new(),
    }
}

/// Nested values as one level: `args[0]`, `port_map[0][http]`.
fn flat(data: Option<Data>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    match data {
        Some(Data::Any(v)) => flatten(&v, "", &mut out),
        Some(Data::Lists(m)) => {
            for (k, list) in m {
                for (i, v) in list.into_iter().enumerate() {
                    out.insert(format!("{k}[{i}]"), v);
                }
            }
        }
        _ => {}
    }
    out
}

fn flatten(v: &Value, path: &str, out: &mut BTreeMap<String, String>) {
    let leaf = match v {
        Value::Null => return,
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => f.to_string(),
        Value::Str(s) => s.clone(),
        Value::List(l) => return l.iter().enumerate().for_each(|(i, v)| flatten(v, &format!("{path}[{i}]"), out)),
        Value::Map(m) => {
            return m.iter().for_each(|(k, v)| {
                let path = if path.is_empty() { k.clone() } else { format!("{path}[{k}]") };
                flatten(v, &path, out);
            });
        }
    };
    out.insert(path.to_owned(), leaf);
}
