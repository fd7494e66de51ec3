//! Filter expressions of list endpoints: the subset of go-bexpr that the Nomad and Consul APIs document.
//!
//! ```text
//!  Status == "running" and (Tags contains "web" or not "db" in Tags) and Meta["a b"] is not empty
//! ```
//! Operators: `== != in, not in, contains, not contains, is empty, is not empty, matches, not matches, and, or, not`,
//! parentheses; selectors `a.b`, `a["b c"]`, `"/a/b"`; values quoted with `"` or `` ` ``, or bare words and numbers.
//!
//! Pure: evaluates on the JSON of the *full* object (not of a list stub). A first selector part that the object does
//! not have is an error, so that a typing mistake is told from "nothing matches"; deeper parts may be map keys and are
//! simply absent. Refuses: `any`/`all` blocks, and expressions longer than [`MAX_LENGTH`] or nested deeper than
//! [`MAX_DEPTH`].
//!
//! Use: `let f: Filter = text.parse()?; if f.matches(&json)? { … }`

use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

mod parse;
#[cfg(test)]
mod tests;

/// Bytes of the longest expression that is read.
pub const MAX_LENGTH: usize = 8 * 1024;
/// Nesting of parentheses and `not`.
pub const MAX_DEPTH: usize = 64;
/// Bytes a compiled regular expression may take.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// An expression that cannot be read, or does not fit the object it is asked about. Both are the caller's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("filter expression is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("filter expression is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("filter expression: expected {wanted} at column {column}, found {found}")]
    Syntax { wanted: &'static str, column: usize, found: String },
    #[error("filter expression: {0}")]
    Regex(String),
    #[error("filter expression: there is no field {0:?} here")]
    NoField(String),
    #[error("filter expression: {selector} is {kind}; {operator} cannot be used on it")]
    Kind { selector: String, kind: &'static str, operator: &'static str },
    #[error("filter expression: {value:?} is not {kind}, as {selector} is")]
    Literal { value: String, kind: &'static str, selector: String },
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Filter {
    root: Expr,
}

#[derive(Clone, Debug)]
enum Expr {
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Test { selector: Vec<String>, test: Test, negated: bool },
}

#[derive(Clone, Debug)]
enum Test {
    Equals(String),
    /// `value in selector` and `selector contains value` are the same question.
    Holds(String),
    Empty,
    Matches(Regex),
}

impl Test {
    const fn operator(&self) -> &'static str {
        match self {
            Self::Equals(_) => "==",
            Self::Holds(_) => "contains",
            Self::Empty => "is empty",
            Self::Matches(_) => "matches",
        }
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LENGTH {
            return Err(Error::TooLong);
        }
        Ok(Self { root: parse::expression(text)? })
    }
}

impl Filter {
    /// Whether `object` satisfies the expression.
    pub fn matches(&self, object: &Value) -> Result<bool, Error> {
        self.root.matches(object)
    }
}

fn regex(pattern: &str) -> Result<Regex, Error> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE_MAX)
        .build()
        .map_err(|e| Error::Regex(format!("{pattern:?} is not a regular expression: {e}")))
}

impl Expr {
    fn matches(&self, object: &Value) -> Result<bool, Error> {
        match self {
            Self::And(a, b) => Ok(a.matches(object)? && b.matches(object)?),
            Self::Or(a, b) => Ok(a.matches(object)? || b.matches(object)?),
            Self::Not(e) => Ok(!e.matches(object)?),
            Self::Test { selector, test, negated } => {
                let answer = match find(object, selector)? {
                    Some(value) => holds(value, test, selector)?,
                    None => matches!(test, Test::Empty),
                };
                Ok(answer != *negated)
            }
        }
    }
}

/// The value a selector names; `None` when a deeper part is absent.
fn find<'a>(object: &'a Value, selector: &[String]) -> Result<Option<&'a Value>, Error> {
    let (first, rest) = selector.split_first().ok_or_else(|| Error::NoField(String::new()))?;
    let Some(mut at) = object.get(first) else { return Err(Error::NoField(first.clone())) };
    for part in rest {
        let next = match at {
            Value::Object(map) => map.get(part),
            Value::Array(list) => part.parse::<usize>().ok().and_then(|n| list.get(n)),
            _ => None,
        };
        match next {
            Some(v) => at = v,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn holds(value: &Value, test: &Test, selector: &[String]) -> Result<bool, Error> {
    let wrong_kind = || Error::Kind { selector: selector.join("."), kind: kind(value), operator: test.operator() };
    match (test, value) {
        (Test::Empty, Value::Null) => Ok(true),
        (Test::Empty, Value::String(s)) => Ok(s.is_empty()),
        (Test::Empty, Value::Array(l)) => Ok(l.is_empty()),
        (Test::Empty, Value::Object(m)) => Ok(m.is_empty()),
        (_, Value::Null) => Ok(false),
        (Test::Equals(_), Value::Array(_) | Value::Object(_)) => Err(wrong_kind()),
        (Test::Equals(wanted), scalar) => equals(scalar, wanted, selector),
        (Test::Holds(wanted), Value::String(s)) => Ok(s.contains(wanted.as_str())),
        (Test::Holds(wanted), Value::Object(m)) => Ok(m.contains_key(wanted)),
        (Test::Holds(wanted), Value::Array(list)) => {
            for item in list {
                if !item.is_array() && !item.is_object() && equals(item, wanted, selector)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Test::Matches(pattern), Value::String(s)) => Ok(pattern.is_match(s)),
        _ => Err(wrong_kind()),
    }
}

fn equals(value: &Value, wanted: &str, selector: &[String]) -> Result<bool, Error> {
    let not_a = |kind: &'static str| Error::Literal { value: wanted.to_owned(), kind, selector: selector.join(".") };
    match value {
        Value::String(s) => Ok(s == wanted),
        Value::Bool(b) => wanted.parse::<bool>().map(|w| w == *b).map_err(|_| not_a("true or false")),
        Value::Number(n) => {
            if let (Some(have), Ok(want)) = (n.as_i64(), wanted.parse::<i64>()) {
                return Ok(have == want);
            }
            let want: f64 = wanted.parse().map_err(|_| not_a("a number"))?;
            Ok(n.as_f64() == Some(want))
        }
        _ => Ok(false),
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
