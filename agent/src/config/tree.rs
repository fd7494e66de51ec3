//! A configuration file as a tree with positions: HCL and JSON become the same thing.
//!
//! Owns: reading the bytes (bounded), syntax errors, duplicate keys. Refuses: knowing any key. A block's labels become
//! nested maps, so `plugin "docker" { config { … } }` and `{"plugin": {"docker": {"config": {…}}}}` are one tree.

use std::{collections::BTreeMap, fmt, fs::File, io::Read as _, ops::Range, path::Path, sync::Arc};

use hcl_edit::{
    Span as _,
    expr::{Expression, ObjectKey},
    structure::{Body, Structure},
};

use super::{Error, Problem};

/// A configuration file larger than this is not one.
const MAX_BYTES: u64 = 1 << 20;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// Keys with the position of the key itself.
pub(super) type Map = BTreeMap<String, (Position, Node)>;

impl Value {
    /// What it is, for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a block",
        }
    }
}

/// Read one file.
pub(super) fn read(path: &Path) -> Result<Map, Error> {
    let unreadable = |cause| Error::Read { path: path.to_owned(), cause };
    let mut text = String::new();
    let read = File::open(path).and_then(|f| f.take(MAX_BYTES + 1).read_to_string(&mut text)).map_err(unreadable)?;
    if read as u64 > MAX_BYTES {
        return Err(Error::Invalid(vec![format!("{}: larger than 1 MiB, which no configuration is", path.display())]));
    }
    let json = path.extension().is_some_and(|e| e == "json") || text.trim_start().starts_with('{');
    parse(&path.display().to_string(), &text, json)
}

/// Parse a file's text.
pub(super) fn parse(file: &str, text: &str, json: bool) -> Result<Map, Error> {
    let source = Source { file: file.into(), text };
    let mut problems = Vec::new();
    let map = if json { source.json(&mut problems)? } else { source.hcl(&mut problems)? };
    if problems.is_empty() { Ok(map) } else { Err(Error::Problems(problems)) }
}

struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Source<'_> {
    fn hcl(&self, problems: &mut Vec<Problem>) -> Result<Map, Error> {
        let body = hcl_edit::parser::parse_body(self.text).map_err(|e| self.syntax(&e))?;
        Ok(self.body(&body, problems))
    }

    /// JSON is checked as JSON, then read as the HCL expression it also is, because that reader keeps positions.
    fn json(&self, problems: &mut Vec<Problem>) -> Result<Map, Error> {
        if let Err(e) = serde_json::from_str::<serde::de::IgnoredAny>(self.text) {
            let at = Position { file: Arc::clone(&self.file), line: e.line(), column: e.column() };
            return Err(Error::Problems(vec![Problem::new(at, format!("this is not JSON: {e}"))]));
        }
        let expr = hcl_edit::parser::parse_expr(self.text.trim()).map_err(|e| self.syntax(&e))?;
        let node = self.expression(&expr, problems);
        match node.value {
            Value::Map(map) => Ok(map),
            other => Err(Error::Problems(vec![Problem::new(
                node.at,
                format!("a configuration is an object, not {}", other.kind()),
            )])),
        }
    }

    fn syntax(&self, e: &hcl_edit::parser::Error) -> Error {
        let at = Position { file: Arc::clone(&self.file), line: e.location().line(), column: e.location().column() };
        Error::Problems(vec![Problem::new(at, format!("syntax error: {}\n    {}", e.message(), e.line().trim_end()))])
    }

    fn position(&self, span: Option<Range<usize>>) -> Position {
        let offset = span.map_or(0, |s| s.start).min(self.text.len());
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Position { file: Arc::clone(&self.file), line, column }
    }

    fn body(&self, body: &Body, problems: &mut Vec<Problem>) -> Map {
        let mut map = Map::new();
        for structure in body {
            match structure {
                Structure::Attribute(a) => {
                    let at = self.position(a.key.span());
                    let node = self.expression(&a.value, problems);
                    add(&mut map, a.key.as_str().to_owned(), at, node, false, problems);
                }
                Structure::Block(b) => {
                    let at = self.position(b.ident.span());
                    let mut node = Node { at: at.clone(), value: Value::Map(self.body(&b.body, problems)) };
                    for label in b.labels.iter().rev() {
                        let inner = Map::from([(label.as_str().to_owned(), (at.clone(), node))]);
                        node = Node { at: at.clone(), value: Value::Map(inner) };
                    }
                    add(&mut map, b.ident.as_str().to_owned(), at, node, !b.labels.is_empty(), problems);
                }
            }
        }
        map
    }

    fn expression(&self, expr: &Expression, problems: &mut Vec<Problem>) -> Node {
        let at = self.position(expr.span());
        let value = match expr {
            Expression::Null(_) => Value::Null,
            Expression::Bool(b) => Value::Bool(*b.value()),
            Expression::Number(n) => {
                let n = n.value();
                n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
            }
            Expression::String(s) => Value::Text(s.value().clone()),
            // The configuration has no variables; `${…}` stays as it was written.
            Expression::StringTemplate(t) => Value::Text(t.to_string().trim().trim_matches('"').to_owned()),
            Expression::HeredocTemplate(t) => Value::Text(t.template.to_string()),
            Expression::Parenthesis(p) => self.expression(p.inner(), problems).value,
            Expression::UnaryOp(op) => self.negative(op, &at, problems),
            Expression::Array(items) => Value::List(items.iter().map(|e| self.expression(e, problems)).collect()),
            Expression::Object(object) => {
                let mut map = Map::new();
                for (key, value) in object.iter() {
                    let key_at = self.position(key.span());
                    let node = self.expression(value.expr(), problems);
                    match key_text(key) {
                        Some(name) => add(&mut map, name, key_at, node, false, problems),
                        None => problems.push(Problem::new(key_at, "a key is a name or a string".into())),
                    }
                }
                Value::Map(map)
            }
            _ => {
                problems.push(Problem::new(
                    at.clone(),
                    "the configuration has no variables or functions: write the value itself".into(),
                ));
                Value::Null
            }
        };
        Node { at, value }
    }

    fn negative(&self, op: &hcl_edit::expr::UnaryOp, at: &Position, problems: &mut Vec<Problem>) -> Value {
        match (op.operator.value(), self.expression(&op.expr, problems).value) {
            (hcl_edit::expr::UnaryOperator::Neg, Value::Int(n)) => Value::Int(-n),
            (hcl_edit::expr::UnaryOperator::Neg, Value::Float(n)) => Value::Float(-n),
            _ => {
                problems.push(Problem::new(at.clone(), "write the value itself, not an expression".into()));
                Value::Null
            }
        }
    }
}

fn key_text(key: &ObjectKey) -> Option<String> {
    match key {
        ObjectKey::Ident(ident) => Some(ident.as_str().to_owned()),
        ObjectKey::Expression(e) => e.as_str().map(str::to_owned),
    }
}

/// Add an entry. Blocks with labels of one kind flow together; anything else given twice is an error, never last-wins.
fn add(map: &mut Map, name: String, at: Position, node: Node, labelled: bool, problems: &mut Vec<Problem>) {
    if let Some((first, old)) = map.get_mut(&name) {
        if labelled && let (Value::Map(old), Value::Map(new)) = (&mut old.value, node.value) {
            for (label, (label_at, inner)) in new {
                add(old, label, label_at, inner, false, problems);
            }
            return;
        }
        problems.push(Problem::new(at, format!("`{name}` was already given at {}:{}", first.line, first.column)));
        return;
    }
    map.insert(name, (at, node));
}
