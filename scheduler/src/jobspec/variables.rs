//! `variable`, `variables` and `locals` blocks, and the values the caller gives.
//!
//! A value comes from, weakest first: the default, the environment, variable files, `-var`.

use std::collections::BTreeMap;

use hcl_edit::structure::{Block as Syntax, Body, Structure};
use model::driver_config::Value;

use super::{
    Error as FileError, MAX_SOURCE, ParseOptions,
    eval::{Declared, Result, Root, place_of},
    text::Source,
    types::Type,
};
use crate::spec::{Error, Place, suggest};

const PARTS: [&str; 5] = ["type", "default", "description", "sensitive", "nullable"];

/// One declared variable.
struct Variable<'a> {
    place: Place,
    kind: Option<Type>,
    default: Option<Value>,
    checks: Vec<&'a Syntax>,
}

impl Variable<'_> {
    /// The type given values are brought into: the declared one, else that of the default, else text.
    fn wanted(&self) -> Type {
        match (&self.kind, &self.default) {
            (Some(t), _) => t.clone(),
            (None, Some(Value::Bool(_))) => Type::Bool,
            (None, Some(Value::Int(_) | Value::Float(_))) => Type::Number,
            (None, Some(Value::List(_) | Value::Map(_))) => Type::Any,
            (None, _) => Type::String,
        }
    }

    /// A value given as text: the text itself, or an expression when the type is not a simple one.
    fn read(&self, text: &str) -> std::result::Result<Value, String> {
        let wanted = self.wanted();
        let value = if wanted.is_primitive() {
            Value::Str(text.to_owned())
        } else {
            let expr = hcl_edit::parser::parse_expr(text.trim()).map_err(|e| e.message().to_owned())?;
            Root::new(text, None, Declared::default()).scope().eval(&expr).map_err(|e| e.message)?
        };
        wanted.convert(value)
    }
}

/// Read all declarations of a file and settle every variable's value.
pub fn collect<'a>(
    body: &'a Body,
    options: &ParseOptions,
    input: &Source<'_>,
    warnings: &mut Vec<String>,
) -> std::result::Result<Declared<'a>, FileError> {
    let (variables, locals) = declarations(body, input.text).map_err(|e| input.error(&e.place, e.message))?;
    let mut given: BTreeMap<String, Value> = BTreeMap::new();
    let mut take = |name: &str, text: &str, from: &str| {
        let Some(v) = variables.get(name) else { return Ok(false) };
        let value = v
            .read(text)
            .map_err(|e| input.error(&v.place, format!("the value {from} gives {name:?} does not fit: {e}")))?;
        given.insert(name.to_owned(), value);
        Ok(true)
    };
    for (name, text) in &options.environment {
        take(name, text, "the environment")?;
    }
    let mut unknown = Vec::new();
    for (file, text) in &options.variable_files {
        for (name, value) in variable_file(file, text)? {
            match variables.get(&name) {
                Some(v) => {
                    let value = v.wanted().convert(value).map_err(|e| {
                        input.error(&v.place, format!("the value {file} gives {name:?} does not fit: {e}"))
                    })?;
                    given.insert(name, value);
                }
                None => unknown.push((name, file.clone())),
            }
        }
    }
    for (name, text) in &options.variables {
        let Some(v) = variables.get(name) else {
            unknown.push((name.clone(), "-var".into()));
            continue;
        };
        let value = v
            .read(text)
            .map_err(|e| input.error(&v.place, format!("the value -var gives {name:?} does not fit: {e}")))?;
        given.insert(name.clone(), value);
    }
    for (name, from) in unknown {
        let hint = suggest::hint(&name, variables.keys().map(String::as_str));
        let message = format!("{from} sets the variable {name:?}, which the job file does not declare.{hint}");
        if options.strict {
            return Err(input.error(&Place::Nowhere, message));
        }
        warnings.push(message);
    }
    settle(variables, given, input.text)
        .map(|variables| Declared { variables, locals })
        .map_err(|e| input.error(&e.place, e.message))
}

type Declarations<'a> = (BTreeMap<String, Variable<'a>>, BTreeMap<String, &'a hcl_edit::expr::Expression>);

fn declarations<'a>(body: &'a Body, text: &str) -> Result<Declarations<'a>> {
    let mut variables = BTreeMap::new();
    let mut locals = BTreeMap::new();
    let twice =
        |name: &str, what: &str, place: &Place| Error::new(place, format!("the {what} {name:?} is defined twice"));
    for block in body.blocks() {
        match block.ident.as_str() {
            "variable" => {
                let (name, v) = variable(block, text)?;
                let place = v.place.clone();
                if variables.insert(name.clone(), v).is_some() {
                    return Err(twice(&name, "variable", &place));
                }
            }
            "variables" => {
                for a in attributes(block)? {
                    let default = Root::new(text, None, Declared::default()).scope().eval(&a.value)?;
                    let place = place_of(&a.key);
                    let v = Variable { place: place.clone(), kind: None, default: Some(default), checks: Vec::new() };
                    if variables.insert(a.key.as_str().to_owned(), v).is_some() {
                        return Err(twice(a.key.as_str(), "variable", &place));
                    }
                }
            }
            "locals" => {
                for a in attributes(block)? {
                    if locals.insert(a.key.as_str().to_owned(), &a.value).is_some() {
                        return Err(twice(a.key.as_str(), "local value", &place_of(&a.key)));
                    }
                }
            }
            _ => {}
        }
    }
    Ok((variables, locals))
}

/// The attributes of a block that holds nothing else.
fn attributes(block: &Syntax) -> Result<Vec<&hcl_edit::structure::Attribute>> {
    block
        .body
        .iter()
        .map(|s| match s {
            Structure::Attribute(a) => Ok(a),
            Structure::Block(b) => {
                let message =
                    format!("\"{}\" holds attributes only: write {} = …", block.ident.as_str(), b.ident.as_str());
                Err(Error::new(&place_of(&b.ident), message))
            }
        })
        .collect()
}

fn variable<'a>(block: &'a Syntax, text: &str) -> Result<(String, Variable<'a>)> {
    let at = place_of(&block.ident);
    let [label] = block.labels.as_slice() else {
        return Err(Error::new(&at, "a variable needs one name: variable \"<name>\" { … }"));
    };
    let mut checks = Vec::new();
    for structure in &block.body {
        match structure {
            Structure::Block(b) if b.ident.as_str() == "validation" => checks.push(b),
            Structure::Attribute(a) if PARTS.contains(&a.key.as_str()) => {}
            other => {
                let (name, place) = match other {
                    Structure::Attribute(a) => (a.key.as_str(), place_of(&a.key)),
                    Structure::Block(b) => (b.ident.as_str(), place_of(&b.ident)),
                };
                let hint = suggest::hint(name, PARTS.into_iter().chain(["validation"]));
                return Err(Error::new(&place, format!("\"variable\" has no {name:?}.{hint}")));
            }
        }
    }
    let kind = block.body.get_attribute("type").map(|a| Type::of(&a.value)).transpose()?;
    let default = match block.body.get_attribute("default") {
        None => None,
        Some(a) => {
            let v = Root::new(text, None, Declared::default()).scope().eval(&a.value)?;
            let wanted = kind.clone().unwrap_or(Type::Any);
            Some(
                wanted
                    .convert(v)
                    .map_err(|e| Error::new(&place_of(&a.value), format!("the default does not fit: {e}")))?,
            )
        }
    };
    Ok((label.as_str().to_owned(), Variable { place: place_of(label), kind, default, checks }))
}

/// Given values over defaults; every variable has one, and passes its own checks.
fn settle(
    variables: BTreeMap<String, Variable<'_>>,
    mut given: BTreeMap<String, Value>,
    text: &str,
) -> Result<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    for (name, v) in &variables {
        let value = given.remove(name).or_else(|| v.default.clone()).ok_or_else(|| {
            let ways = format!("-var {name}=…, a variable file, or NOMAD_VAR_{name}");
            Error::new(&v.place, format!("the variable {name:?} has no value; give it one by {ways}"))
        })?;
        values.insert(name.clone(), value);
    }
    let declared = Declared { variables: values.clone(), locals: BTreeMap::new() };
    let root = Root::new(text, None, declared);
    for v in variables.values() {
        v.checks.iter().try_for_each(|b| validation(b, &root))?;
    }
    Ok(values)
}

fn validation(block: &Syntax, root: &Root<'_>) -> Result<()> {
    let at = place_of(&block.ident);
    let Some(condition) = block.body.get_attribute("condition") else {
        return Err(Error::new(&at, "\"validation\" needs a \"condition\""));
    };
    if root.scope().condition(&condition.value)? {
        return Ok(());
    }
    let message = match block.body.get_attribute("error_message") {
        Some(a) => super::eval::text_of(&root.scope().eval(&a.value)?).unwrap_or_default(),
        None => "the value does not meet the variable's condition".to_owned(),
    };
    Err(Error::new(&place_of(&condition.value), message))
}

fn variable_file(name: &str, text: &str) -> std::result::Result<Vec<(String, Value)>, FileError> {
    let input = Source { name, text };
    if text.len() > MAX_SOURCE {
        return Err(input.error(&Place::Nowhere, format!("the variable file is larger than {} KiB", MAX_SOURCE / 1024)));
    }
    if text.trim_start().starts_with('{') {
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|e| input.error(&Place::Nowhere, e.to_string()))?;
        let serde_json::Value::Object(map) = json else {
            return Err(input.error(&Place::Nowhere, "a variable file holds one object"));
        };
        return Ok(map.iter().map(|(k, v)| (k.clone(), Value::from(v))).collect());
    }
    let body = hcl_edit::parser::parse_body(text).map_err(|e| input.syntax_error(&e))?;
    let root = Root::new(text, None, Declared::default());
    let mut values = Vec::new();
    for structure in &body {
        match structure {
            Structure::Attribute(a) => {
                let v = root.scope().eval(&a.value).map_err(|e| input.error(&e.place, e.message))?;
                values.push((a.key.as_str().to_owned(), v));
            }
            Structure::Block(b) => {
                return Err(input.error(&place_of(&b.ident), "a variable file holds attributes only: name = value"));
            }
        }
    }
    Ok(values)
}
