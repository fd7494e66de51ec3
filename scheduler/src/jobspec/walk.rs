//! A syntax tree becomes a [`Block`] by the tables of `spec`: names checked, values worked out, `dynamic` unrolled.

mod convert;
mod dynamic;

use hcl_edit::structure::{Attribute, Block as Syntax, Body, Structure};
use model::driver_config::Value;
use std::collections::BTreeMap;

use super::eval::{Result, Root, Scope, place_of};
use crate::spec::{
    Block, Data, Error, Field, Place,
    schema::{self, FieldSpec, Label, Schema, Ty},
    suggest,
};
pub use convert::blocks_of_value;
use convert::data_of_value;

/// Names that may stand at the top of a job file.
const TOP: [&str; 4] = ["job", "variable", "variables", "locals"];

/// The one `job` block of a file.
pub fn job(body: &Body, root: &Root<'_>) -> Result<Block> {
    let mut found: Option<&Syntax> = None;
    for structure in body {
        match structure {
            Structure::Block(b) if b.ident.as_str() == "job" => {
                if found.replace(b).is_some() {
                    return Err(Error::new(&place_of(&b.ident), "a job file holds one job; this is the second"));
                }
            }
            Structure::Block(b) if TOP.contains(&b.ident.as_str()) => {}
            Structure::Block(b) => {
                let name = b.ident.as_str();
                let what = format!("unknown block {name:?} at the top of a job file.{}", suggest::hint(name, TOP));
                return Err(Error::new(&place_of(&b.ident), what));
            }
            Structure::Attribute(a) => {
                let name = a.key.as_str();
                let what = format!("{name:?} stands outside the job block{}", belongs(name, ""));
                return Err(Error::new(&place_of(&a.key), what));
            }
        }
    }
    let Some(block) = found else {
        return Err(Error::new(&Place::Nowhere, "the file holds no job; it needs one block: job \"<id>\" { … }"));
    };
    let labels = labels_of(block);
    let at = place_of(&block.ident);
    let label = check_labels(&labels, &schema::JOB, &at)?;
    let mut out = self::block(&block.body, &schema::JOB, &root.scope(), at)?;
    out.label = label;
    Ok(out)
}

/// A label and where it stands.
pub type Labels = Vec<(String, Place)>;

fn labels_of(block: &Syntax) -> Labels {
    block.labels.iter().map(|l| (l.as_str().to_owned(), place_of(l))).collect()
}

/// The label a kind of block wants, from those it has.
fn check_labels(labels: &Labels, schema: &Schema, at: &Place) -> Result<Option<String>> {
    match (labels.as_slice(), schema.label) {
        ([], Label::None | Label::Optional(_)) => Ok(None),
        ([(name, _)], Label::Required(_) | Label::Optional(_)) => Ok(Some(name.clone())),
        ([], Label::Required(_)) => {
            Err(Error::new(at, format!("this needs a name: {} \"<name>\" {{ … }}", schema.name)))
        }
        ([(_, place), ..], Label::None) => Err(Error::new(place, format!("\"{}\" takes no name", schema.name))),
        ([_, (_, place), ..], _) => Err(Error::new(place, format!("\"{}\" takes one name", schema.name))),
    }
}

/// Where a misplaced name would be right.
fn belongs(name: &str, here: &str) -> String {
    match schema::homes(name).into_iter().filter(|h| *h != here).collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        homes => {
            format!("; it belongs into {}", homes.iter().map(|h| format!("\"{h}\"")).collect::<Vec<_>>().join(" or "))
        }
    }
}

fn unknown(name: &str, schema: &Schema, what: &str, at: &Place) -> Error {
    let hint = suggest::hint(name, schema.names());
    let place = if hint.is_empty() { belongs(name, schema.name) } else { String::new() };
    Error::new(at, format!("\"{}\" has no {what} {name:?}{place}.{hint}", schema.name))
}

/// Read a body as a block of one kind.
pub fn block(body: &Body, schema: &'static Schema, scope: &Scope<'_>, at: Place) -> Result<Block> {
    let mut out = Block::at(at);
    for structure in body {
        match structure {
            Structure::Attribute(a) => attribute(&mut out, a, schema, scope)?,
            Structure::Block(b) => dynamic::unrolled(b, scope, &mut |name, labels, body, scope, at| {
                child(&mut out, schema, name, labels, body, scope, at)
            })?,
        }
    }
    Ok(out)
}

fn attribute(out: &mut Block, a: &Attribute, schema: &'static Schema, scope: &Scope<'_>) -> Result<()> {
    let name = a.key.as_str();
    let key = place_of(&a.key);
    let spec = schema.field(name).ok_or_else(|| unknown(name, schema, "attribute", &key))?;
    if matches!(spec.ty, Ty::Many(_) | Ty::Keyed(_)) {
        return Err(Error::new(&key, format!("\"{name}\" is a block: write {name} {{ … }} without \"=\"")));
    }
    let value = scope.eval(&a.value)?;
    let mut place = place_of(&a.value);
    if place == Place::Nowhere {
        place = key;
    }
    let Some(data) = data_of_value(&value, spec, &place)? else { return Ok(()) };
    add(out, spec, Field { place, data })
}

/// Put a field into a block that may have it already.
fn add(out: &mut Block, spec: &'static FieldSpec, field: Field) -> Result<()> {
    let Some(old) = out.fields.get_mut(spec.hcl) else {
        out.fields.insert(spec.hcl, field);
        return Ok(());
    };
    let twice = |what: &str| Err(Error::new(&field.place, format!("\"{}\" is set twice{what}", spec.hcl)));
    match (&mut old.data, &field.data, spec.ty) {
        (Data::Blocks(all), Data::Blocks(new), Ty::Many(_) | Ty::Keyed(_)) => all.extend(new.iter().cloned()),
        (Data::Map(all), Data::Map(new), _) => {
            for (k, v) in new {
                if all.insert(k.clone(), v.clone()).is_some() {
                    return twice(&format!(": its key {k:?} appears in both"));
                }
            }
        }
        _ => return twice("; one block of this kind is allowed here"),
    }
    Ok(())
}

fn child(
    out: &mut Block,
    schema: &'static Schema,
    name: &str,
    labels: &Labels,
    body: &Body,
    scope: &Scope<'_>,
    at: Place,
) -> Result<()> {
    scope.spend(1, &at)?;
    let spec = schema.field(name).ok_or_else(|| unknown(name, schema, "block", &at))?;
    let data = match spec.ty {
        Ty::One(kind) | Ty::Many(kind) | Ty::Keyed(kind) => {
            let label = check_block_labels(labels, spec, kind, &at)?;
            let mut b = block(body, kind, scope, at.clone())?;
            b.label = label;
            Data::Blocks(vec![b])
        }
        Ty::Map | Ty::Lists | Ty::Any => {
            if let Some((_, place)) = labels.first() {
                return Err(Error::new(place, format!("\"{name}\" takes no name")));
            }
            let value = Value::Map(free(body, scope)?);
            match data_of_value(&value, spec, &at)? {
                Some(data) => data,
                None => return Ok(()),
            }
        }
        _ => return Err(Error::new(&at, format!("\"{name}\" is an attribute: write {name} = …"))),
    };
    add(out, spec, Field { place: at, data })
}

/// A group's `scaling` may carry a name, which means nothing; everything else follows its table.
fn check_block_labels(labels: &Labels, spec: &FieldSpec, kind: &'static Schema, at: &Place) -> Result<Option<String>> {
    if spec.hcl == "scaling" && kind.label == Label::None {
        return Ok(None);
    }
    check_labels(labels, kind, at)
}

/// A body whose names are not known here. Blocks become lists of objects, as drivers expect repeated blocks.
fn free(body: &Body, scope: &Scope<'_>) -> Result<BTreeMap<String, Value>> {
    let mut out: BTreeMap<String, Value> = BTreeMap::new();
    for structure in body {
        match structure {
            Structure::Attribute(a) => {
                let v = scope.eval(&a.value)?;
                if out.insert(a.key.as_str().to_owned(), v).is_some() {
                    return Err(Error::new(&place_of(&a.key), format!("\"{}\" is set twice", a.key.as_str())));
                }
            }
            Structure::Block(b) => dynamic::unrolled(b, scope, &mut |name, labels, body, scope, at| {
                let mut v = Value::Map(free(body, scope)?);
                for (label, _) in labels.iter().rev() {
                    v = Value::Map(BTreeMap::from([(label.clone(), v)]));
                }
                match out.entry(name.to_owned()).or_insert_with(|| Value::List(Vec::new())) {
                    Value::List(l) => l.push(v),
                    _ => return Err(Error::new(&at, format!("\"{name}\" is both an attribute and a block"))),
                }
                Ok(())
            })?,
        }
    }
    Ok(out)
}
