//! The functions a job file may call, by name.
//!
//! Each takes its arguments already worked out and answers a value or a sentence saying what was wrong. `try`, `can`
//! and `convert` are not here: they need their arguments unevaluated.

mod collection;
mod digest;
mod encoding;
mod file;
mod format;
mod network;
mod number;
mod set;
mod text;
mod time;
mod yaml;

use std::{collections::BTreeMap, path::Path};

use model::driver_config::Value;

use super::eval::{text_of, type_name};
use crate::spec::suggest;

/// What a function may know besides its arguments.
pub struct Context<'a> {
    /// The directory files may be read below; `None` where reading is refused.
    pub files: Option<&'a Path>,
}

pub type Answer = Result<Value, String>;

/// A function of its arguments alone.
type Function = fn(&Args<'_>) -> Answer;

/// One table per family.
const FAMILIES: [&[(&str, Function)]; 9] = [
    collection::FUNCTIONS,
    digest::FUNCTIONS,
    encoding::FUNCTIONS,
    format::FUNCTIONS,
    network::FUNCTIONS,
    number::FUNCTIONS,
    set::FUNCTIONS,
    text::FUNCTIONS,
    time::FUNCTIONS,
];

/// Call a function.
///
/// # Errors
/// When there is no such function, or its arguments do not fit.
pub fn call(name: &str, args: &[Value], context: &Context<'_>) -> Answer {
    let args = Args { name, values: args };
    if file::NAMES.contains(&name) {
        return file::call(&args, context);
    }
    let all = || FAMILIES.iter().flat_map(|f| f.iter());
    match all().find(|(n, _)| *n == name) {
        Some((_, f)) => f(&args),
        None => {
            let known = all().map(|(n, _)| *n).chain(file::NAMES).chain(["try", "can", "convert"]);
            Err(format!("there is no function {name:?}.{}", suggest::hint(name, known)))
        }
    }
}

/// The arguments of one call, read with checks.
pub struct Args<'a> {
    name: &'a str,
    values: &'a [Value],
}

impl<'a> Args<'a> {
    /// Exactly this many arguments.
    fn exactly<const N: usize>(&self) -> Result<[&'a Value; N], String> {
        let found = self.values.len();
        let all: Vec<&Value> = self.values.iter().collect();
        all.try_into()
            .map_err(|_| format!("{}() takes {N} argument{}, not {found}", self.name, if N == 1 { "" } else { "s" }))
    }

    fn at_least(&self, n: usize) -> Result<&'a [Value], String> {
        if self.values.len() < n {
            return Err(format!("{}() needs at least {n} argument{}", self.name, if n == 1 { "" } else { "s" }));
        }
        Ok(self.values)
    }

    fn wrong(&self, wanted: &str, v: &Value) -> String {
        format!("{}() expects {wanted}, not {}", self.name, type_name(v))
    }

    fn text(&self, v: &Value) -> Result<String, String> {
        text_of(v).ok_or_else(|| self.wrong("text", v))
    }

    fn list<'v>(&self, v: &'v Value) -> Result<&'v [Value], String> {
        if let Value::List(l) = v { Ok(l) } else { Err(self.wrong("a list", v)) }
    }

    fn map<'v>(&self, v: &'v Value) -> Result<&'v BTreeMap<String, Value>, String> {
        if let Value::Map(m) = v { Ok(m) } else { Err(self.wrong("an object", v)) }
    }

    fn texts(&self, v: &Value) -> Result<Vec<String>, String> {
        self.list(v)?.iter().map(|v| self.text(v)).collect()
    }

    fn int(&self, v: &Value) -> Result<i64, String> {
        match v {
            Value::Int(i) => Ok(*i),
            Value::Str(s) => s.trim().parse().map_err(|_| self.wrong("a whole number", v)),
            other => Err(self.wrong("a whole number", other)),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "numbers beyond 2^53 are not worth an error")]
    fn float(&self, v: &Value) -> Result<f64, String> {
        match v {
            Value::Int(i) => Ok(*i as f64),
            Value::Float(f) => Ok(*f),
            Value::Str(s) => s.trim().parse().map_err(|_| self.wrong("a number", v)),
            other => Err(self.wrong("a number", other)),
        }
    }

    fn fail(&self, why: impl std::fmt::Display) -> String {
        format!("{}(): {why}", self.name)
    }
}

fn list_of(texts: impl IntoIterator<Item = String>) -> Value {
    Value::List(texts.into_iter().map(Value::Str).collect())
}

#[cfg(test)]
mod tests;
