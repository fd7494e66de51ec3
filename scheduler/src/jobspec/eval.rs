//! Expressions: literals, references, operators, templates, `for`, function calls.
//!
//! A reference nobody defines is not an error: it becomes the text it was written as, wrapped in `${…}`, because the
//! client fills in what only exists at run time. Work is metered: a small file cannot ask for unbounded results.

mod compare;
mod for_expr;
mod operator;
mod template;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Range,
    path::Path,
};

use hcl_edit::{
    Ident, Span,
    expr::{Expression, FuncCall, ObjectKey, Traversal, TraversalOperator},
};
use model::driver_config::Value;

pub use compare::{equal, text_of, type_name};
pub use for_expr::pairs;

use super::{functions, types::Type};
use crate::spec::{Error, Place, suggest};

/// Units of work one file may cost: expressions evaluated plus bytes produced.
const BUDGET: u64 = 32 * 1024 * 1024;

/// What one expression costs, however small its result.
const STEP: usize = 16;

pub type Result<T> = std::result::Result<T, Error>;

/// What a file declares before its job is read.
#[derive(Default)]
pub struct Declared<'a> {
    pub variables: BTreeMap<String, Value>,
    pub locals: BTreeMap<String, &'a Expression>,
}

/// The outermost scope and everything shared below it.
pub struct Root<'a> {
    text: &'a str,
    pub files: Option<&'a Path>,
    declared: Declared<'a>,
    locals: RefCell<BTreeMap<String, Option<Value>>>,
    spent: Cell<u64>,
}

impl<'a> Root<'a> {
    pub fn new(text: &'a str, files: Option<&'a Path>, declared: Declared<'a>) -> Self {
        Self { text, files, declared, locals: RefCell::new(BTreeMap::new()), spent: Cell::new(0) }
    }

    pub fn scope(&self) -> Scope<'_> {
        Scope { root: self, outer: None, names: Vec::new() }
    }
}

/// Names visible at one point: those of `for` and `dynamic`, then `var` and `local`.
pub struct Scope<'a> {
    pub root: &'a Root<'a>,
    outer: Option<&'a Scope<'a>>,
    names: Vec<(String, Value)>,
}

/// The place of a syntax element; the parser records one for everything but a few synthetic nodes.
pub fn place_of(node: &impl Span) -> Place {
    node.span().map_or(Place::Nowhere, Place::Span)
}

/// A place known from its span, else that of the parent.
fn or_place(place: Place, parent: &Place) -> Place {
    if place == Place::Nowhere { parent.clone() } else { place }
}

impl Scope<'_> {
    /// A scope inside this one with more names.
    pub fn with(&self, names: Vec<(String, Value)>) -> Scope<'_> {
        Scope { root: self.root, outer: Some(self), names }
    }

    /// Pay for work.
    pub fn spend(&self, units: usize, place: &Place) -> Result<()> {
        let spent = self.root.spent.get().saturating_add(units as u64);
        self.root.spent.set(spent);
        if spent > BUDGET {
            return Err(Error::new(place, "this job file asks for too much work; make its loops or texts smaller"));
        }
        Ok(())
    }

    /// The source text of a span.
    fn source(&self, span: &Range<usize>) -> &str {
        self.root.text.get(span.clone()).unwrap_or("").trim()
    }

    pub fn eval(&self, expr: &Expression) -> Result<Value> {
        let place = place_of(expr);
        self.spend(STEP, &place)?;
        match expr {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(b) => Ok(Value::Bool(*b.value())),
            Expression::Number(n) => Ok(number(n.value())),
            Expression::String(s) => Ok(Value::Str(s.value().clone())),
            Expression::Array(a) => a.iter().map(|e| self.eval(e)).collect::<Result<_>>().map(Value::List),
            Expression::Object(o) => self.object(o, &place),
            Expression::StringTemplate(t) => self.template_value(t, &place),
            Expression::HeredocTemplate(t) => self.render(&t.template, &place).map(Value::Str),
            Expression::Parenthesis(p) => self.eval(p.inner()),
            Expression::Variable(name) => self.variable(name, &place),
            Expression::Conditional(c) => {
                if self.condition(&c.cond_expr)? {
                    self.eval(&c.true_expr)
                } else {
                    self.eval(&c.false_expr)
                }
            }
            Expression::FuncCall(call) => self.call(call, &place),
            Expression::Traversal(t) => self.traversal(t, &place),
            Expression::UnaryOp(op) => self.unary(op),
            Expression::BinaryOp(op) => self.binary(op, &place),
            Expression::ForExpr(f) => self.for_expr(f, &place),
        }
    }

    /// An expression that must be true or false.
    pub fn condition(&self, expr: &Expression) -> Result<bool> {
        let v = self.eval(expr)?;
        match &v {
            Value::Bool(b) => Ok(*b),
            Value::Str(s) if s == "true" => Ok(true),
            Value::Str(s) if s == "false" => Ok(false),
            other => {
                Err(Error::new(&place_of(expr), format!("this must be true or false, but it is {}", type_name(other))))
            }
        }
    }

    fn object(&self, object: &hcl_edit::expr::Object, place: &Place) -> Result<Value> {
        let mut map = BTreeMap::new();
        for (key, value) in object {
            let name = match key {
                ObjectKey::Ident(id) => id.as_str().to_owned(),
                ObjectKey::Expression(e) => {
                    let v = self.eval(e)?;
                    text_of(&v).ok_or_else(|| {
                        Error::new(&or_place(place_of(e), place), format!("a key must be text, not {}", type_name(&v)))
                    })?
                }
            };
            map.insert(name, self.eval(value.expr())?);
        }
        Ok(Value::Map(map))
    }

    fn lookup(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(s) = scope {
            if let Some((_, v)) = s.names.iter().rev().find(|(n, _)| n == name) {
                return Some(v.clone());
            }
            scope = s.outer;
        }
        None
    }

    fn variable(&self, name: &Ident, place: &Place) -> Result<Value> {
        if let Some(v) = self.lookup(name.as_str()) {
            self.spend(size(&v), place)?;
            return Ok(v);
        }
        match name.as_str() {
            "var" => Ok(Value::Map(self.root.declared.variables.clone())),
            "local" => {
                let names: Vec<_> = self.root.declared.locals.keys().cloned().collect();
                let all: Result<_> = names.into_iter().map(|n| Ok((n.clone(), self.local(&n, place)?))).collect();
                all.map(Value::Map)
            }
            other => Ok(Value::Str(format!("${{{other}}}"))),
        }
    }

    fn traversal(&self, t: &Traversal, place: &Place) -> Result<Value> {
        let mut operators = t.operators.as_slice();
        let start = match &t.expr {
            Expression::Variable(name) => match self.root_value(name, &mut operators, place)? {
                Some(v) => v,
                None => {
                    let text = t.expr.span().zip(t.operators.last().and_then(Span::span)).map(|(a, b)| a.start..b.end);
                    let text = match (text, place) {
                        (_, Place::Span(whole)) => self.source(whole).to_owned(),
                        (Some(span), _) => self.source(&span).to_owned(),
                        _ => return Err(Error::new(place, "this reference cannot be read")),
                    };
                    return Ok(Value::Str(format!("${{{text}}}")));
                }
            },
            expr => self.eval(expr)?,
        };
        let v = self.walk(start, operators.iter().map(|o| o.value()), place)?;
        self.spend(size(&v), place)?;
        Ok(v)
    }

    /// What the first name of a reference stands for; `var` and `local` take the next name with it.
    fn root_value<D: std::ops::Deref<Target = TraversalOperator>>(
        &self,
        name: &Ident,
        operators: &mut &[D],
        place: &Place,
    ) -> Result<Option<Value>> {
        if let Some(v) = self.lookup(name.as_str()) {
            return Ok(Some(v));
        }
        if !matches!(name.as_str(), "var" | "local") {
            return Ok(None);
        }
        let Some((first, rest)) = operators.split_first() else { return Ok(None) };
        let key = match &**first {
            TraversalOperator::GetAttr(id) => id.as_str().to_owned(),
            TraversalOperator::Index(e) => text_of(&self.eval(e)?).unwrap_or_default(),
            _ => return self.variable(name, place).map(Some),
        };
        *operators = rest;
        if name.as_str() == "local" {
            return self.local(&key, place).map(Some);
        }
        let known = &self.root.declared.variables;
        known.get(&key).cloned().map(Some).ok_or_else(|| {
            let hint = suggest::hint(&key, known.keys().map(String::as_str));
            Error::new(
                place,
                format!("the variable {key:?} is not declared; add a block: variable \"{key}\" {{}}.{hint}"),
            )
        })
    }

    /// A local value, worked out when first asked for; so their order does not matter.
    fn local(&self, name: &str, place: &Place) -> Result<Value> {
        match self.root.locals.borrow().get(name) {
            Some(Some(v)) => return Ok(v.clone()),
            Some(None) => return Err(Error::new(place, format!("the local value {name:?} refers to itself"))),
            None => {}
        }
        let Some(expr) = self.root.declared.locals.get(name) else {
            let hint = suggest::hint(name, self.root.declared.locals.keys().map(String::as_str));
            return Err(Error::new(
                place,
                format!("the local value {name:?} is not defined in a \"locals\" block.{hint}"),
            ));
        };
        self.root.locals.borrow_mut().insert(name.to_owned(), None);
        let v = self.root.scope().eval(expr)?;
        self.root.locals.borrow_mut().insert(name.to_owned(), Some(v.clone()));
        Ok(v)
    }

    fn walk<'t>(
        &self,
        start: Value,
        mut operators: impl Iterator<Item = &'t TraversalOperator> + Clone,
        place: &Place,
    ) -> Result<Value> {
        let mut v = start;
        while let Some(op) = operators.next() {
            v = match op {
                TraversalOperator::GetAttr(name) => member(&v, name.as_str(), place)?,
                TraversalOperator::LegacyIndex(i) => {
                    element(&v, &Value::Int(i64::try_from(*i.value()).unwrap_or(i64::MAX)), place)?
                }
                TraversalOperator::Index(e) => element(&v, &self.eval(e)?, place)?,
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let items = match v {
                        Value::Null => Vec::new(),
                        Value::List(l) => l,
                        one => vec![one],
                    };
                    self.spend(items.len(), place)?;
                    let rest: Result<_> = items.into_iter().map(|i| self.walk(i, operators.clone(), place)).collect();
                    return rest.map(Value::List);
                }
            };
        }
        Ok(v)
    }

    fn call(&self, call: &FuncCall, place: &Place) -> Result<Value> {
        let name = call.name.name.as_str();
        if call.name.is_namespaced() {
            return Err(Error::new(
                place,
                format!(
                    "there is no function \"{}::{name}\"",
                    call.name.namespace.iter().map(|n| n.as_str()).collect::<Vec<_>>().join("::")
                ),
            ));
        }
        match name {
            "try" | "can" => return self.attempt(name, call, place),
            "convert" => return self.convert(call, place),
            _ => {}
        }
        let mut args: Vec<Value> = call.args.iter().map(|e| self.eval(e)).collect::<Result<_>>()?;
        if call.args.expand_final() {
            match args.pop() {
                Some(Value::List(l)) => args.extend(l),
                _ => return Err(Error::new(place, "\"...\" needs a list")),
            }
        }
        let context = functions::Context { files: self.root.files };
        let v = functions::call(name, &args, &context).map_err(|m| Error::new(place, m))?;
        self.spend(size(&v), place)?;
        Ok(v)
    }

    /// `try` and `can` decide themselves what to do about an argument that fails.
    fn attempt(&self, name: &str, call: &FuncCall, place: &Place) -> Result<Value> {
        let mut first = None;
        for arg in call.args.iter() {
            match self.eval(arg) {
                Ok(v) if !still_unknown(&v) => return Ok(if name == "can" { Value::Bool(true) } else { v }),
                other => first = first.or(Some(other)),
            }
        }
        match (name, first) {
            ("can", Some(_)) => Ok(Value::Bool(false)),
            (_, Some(Ok(v))) => Ok(v),
            (_, Some(Err(e))) => {
                Err(Error::new(place, format!("no argument of \"try\" has a value; the first says: {}", e.message)))
            }
            (_, None) => Err(Error::new(place, format!("\"{name}\" needs an argument"))),
        }
    }

    /// `convert(value, type)`; the type is not a value.
    fn convert(&self, call: &FuncCall, place: &Place) -> Result<Value> {
        let (2, Some(value), Some(kind)) = (call.args.len(), call.args.get(0), call.args.get(1)) else {
            return Err(Error::new(place, "convert() takes a value and a type"));
        };
        let kind = Type::of(kind)?;
        kind.convert(self.eval(value)?).map_err(|e| Error::new(place, format!("convert(): {e}")))
    }
}

/// Text that is nothing but a reference kept for run time.
fn still_unknown(v: &Value) -> bool {
    matches!(v, Value::Str(s) if s.starts_with("${") && s.ends_with('}') && s.matches("${").count() == 1)
}

fn number(n: &hcl_edit::Number) -> Value {
    n.as_i64().map_or_else(|| whole(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
}

/// A float as a whole number when it is one and fits.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked first")]
pub fn whole(f: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if f.fract() == 0.0 && f.abs() <= EXACT { Value::Int(f as i64) } else { Value::Float(f) }
}

fn member(v: &Value, name: &str, place: &Place) -> Result<Value> {
    match v {
        Value::Map(m) => m.get(name).cloned().ok_or_else(|| {
            let hint = suggest::hint(name, m.keys().map(String::as_str));
            Error::new(place, format!("there is no {name:?} in this value.{hint}"))
        }),
        other => Err(Error::new(place, format!("{} has no attributes, so no {name:?}", type_name(other)))),
    }
}

fn element(v: &Value, key: &Value, place: &Place) -> Result<Value> {
    match (v, key) {
        (Value::List(l), Value::Int(i)) => usize::try_from(*i)
            .ok()
            .and_then(|i| l.get(i))
            .cloned()
            .ok_or_else(|| Error::new(place, format!("there is no element {i}: the list has {} elements", l.len()))),
        (Value::List(_), Value::Str(s)) if s.parse::<i64>().is_ok() => {
            element(v, &Value::Int(s.parse().unwrap_or(-1)), place)
        }
        (Value::Map(_), k) => match text_of(k) {
            Some(k) => member(v, &k, place),
            None => Err(Error::new(place, format!("a key must be text, not {}", type_name(k)))),
        },
        (other, _) => Err(Error::new(place, format!("{} has no elements", type_name(other)))),
    }
}

/// How much memory a value holds, roughly: what producing it costs.
pub fn size(v: &Value) -> usize {
    match v {
        Value::Str(s) => s.len() + 1,
        Value::List(l) => 1 + l.iter().map(size).sum::<usize>(),
        Value::Map(m) => 1 + m.iter().map(|(k, v)| k.len() + size(v)).sum::<usize>(),
        _ => 1,
    }
}
