//! `dynamic "<kind>" { for_each … content { … } }`: one block per element.

use hcl_edit::structure::{Attribute, Block as Syntax, Body, Structure};
use model::driver_config::Value;
use std::collections::BTreeMap;

use super::{Labels, labels_of};
use crate::{
    jobspec::eval::{Result, Scope, pairs, place_of, text_of, type_name},
    spec::{Error, Place, suggest},
};

const PARTS: [&str; 4] = ["for_each", "iterator", "labels", "content"];

/// What is done with each block: name, labels, body, scope, place.
type Visit<'v> = dyn FnMut(&str, &Labels, &Body, &Scope<'_>, Place) -> Result<()> + 'v;

/// Hand on the block itself, or those a `dynamic` block stands for.
pub fn unrolled(block: &Syntax, scope: &Scope<'_>, visit: &mut Visit<'_>) -> Result<()> {
    let at = place_of(&block.ident);
    if block.ident.as_str() != "dynamic" {
        return visit(block.ident.as_str(), &labels_of(block), &block.body, scope, at);
    }
    let [kind] = block.labels.as_slice() else {
        return Err(Error::new(&at, "\"dynamic\" needs the kind of block it makes: dynamic \"<kind>\" { … }"));
    };
    let parts = Parts::of(&block.body, &at)?;
    let kind = kind.as_str();
    let iterator = match parts.iterator {
        None => kind.to_owned(),
        Some(a) => a
            .value
            .as_variable()
            .map(|v| v.as_str().to_owned())
            .ok_or_else(|| Error::new(&place_of(&a.value), "\"iterator\" is a plain name, without quotes"))?,
    };
    let collection = scope.eval(&parts.for_each.value)?;
    for (key, value) in pairs(collection, &place_of(&parts.for_each.value))? {
        let item = Value::Map(BTreeMap::from([("key".to_owned(), key), ("value".to_owned(), value)]));
        let inner = scope.with(vec![(iterator.clone(), item)]);
        let labels = parts.labels.map(|a| labels(a, &inner)).transpose()?.unwrap_or_default();
        visit(kind, &labels, &parts.content.body, &inner, at.clone())?;
    }
    Ok(())
}

fn labels(a: &Attribute, scope: &Scope<'_>) -> Result<Labels> {
    let place = place_of(&a.value);
    let value = scope.eval(&a.value)?;
    let wrong = |v: &Value| Error::new(&place, format!("\"labels\" is a list of texts, not {}", type_name(v)));
    let Value::List(list) = &value else { return Err(wrong(&value)) };
    list.iter().map(|v| text_of(v).map(|t| (t, place.clone())).ok_or_else(|| wrong(v))).collect()
}

struct Parts<'a> {
    for_each: &'a Attribute,
    iterator: Option<&'a Attribute>,
    labels: Option<&'a Attribute>,
    content: &'a Syntax,
}

impl<'a> Parts<'a> {
    fn of(body: &'a Body, at: &Place) -> Result<Self> {
        for structure in body {
            let (name, place) = match structure {
                Structure::Attribute(a) => (a.key.as_str(), place_of(&a.key)),
                Structure::Block(b) => (b.ident.as_str(), place_of(&b.ident)),
            };
            if !PARTS.contains(&name) {
                let hint = suggest::hint(name, PARTS);
                return Err(Error::new(&place, format!("\"dynamic\" has no {name:?}; put it into \"content\".{hint}")));
            }
        }
        let missing = |what: &str| Error::new(at, format!("\"dynamic\" needs {what}"));
        Ok(Self {
            for_each: body.get_attribute("for_each").ok_or_else(|| missing("\"for_each\""))?,
            iterator: body.get_attribute("iterator"),
            labels: body.get_attribute("labels"),
            content: body.get_blocks("content").next().ok_or_else(|| missing("a \"content\" block"))?,
        })
    }
}
