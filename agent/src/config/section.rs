//! Reading one block of the tree: typed values, and a problem with a position for everything that is not understood.

use std::{cell::RefCell, collections::BTreeMap, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use super::{
    Problem, duration,
    tree::{Map, Node, Position, Value},
};
use crate::nearest::nearest;

/// One block being read. Every key that is asked for is known; [`Section::finish`] complains about the others.
pub(super) struct Section<'a> {
    path: String,
    entries: Vec<(&'a str, &'a Position, &'a Node)>,
    known: Vec<&'static str>,
    problems: &'a RefCell<Vec<Problem>>,
}

impl<'a> Section<'a> {
    pub fn new(path: &str, map: &'a Map, problems: &'a RefCell<Vec<Problem>>) -> Self {
        let entries = map.iter().map(|(k, (at, node))| (k.as_str(), at, node)).collect();
        Self { path: path.to_owned(), entries, known: Vec::new(), problems }
    }

    /// The full name of a key of this block.
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn problem(&self, at: &Position, message: String) {
        self.problems.borrow_mut().push(Problem::new(at.clone(), message));
    }

    fn wrong(&self, key: &str, node: &Node, wanted: &str) {
        self.problem(&node.at, format!("`{}` is {wanted}, not {}", self.name(key), node.value.kind()));
    }

    /// The value of a key; null counts as absent.
    fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let (_, _, node) = self.entries.iter().find(|(k, _, _)| *k == key)?;
        (!matches!(node.value, Value::Null)).then_some(*node)
    }

    /// Where a key stands, if it is there: for features that are not built.
    pub fn position_of(&mut self, key: &'static str) -> Option<&'a Position> {
        self.take(key).map(|n| &n.at)
    }

    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let node = self.take(key)?;
        if let Value::Text(s) = &node.value {
            return Some(s.clone());
        }
        self.wrong(key, node, "a string");
        None
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let node = self.take(key)?;
        match &node.value {
            Value::Bool(b) => return Some(*b),
            Value::Text(s) => {
                if let Some(b) = parse_flag(s) {
                    return Some(b);
                }
            }
            _ => {}
        }
        self.wrong(key, node, "true or false");
        None
    }

    /// A whole number in a range.
    pub fn number<T: TryFrom<i64>>(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<T> {
        let node = self.take(key)?;
        let found = match &node.value {
            Value::Int(n) => Some(*n),
            Value::Text(s) => s.parse().ok(),
            _ => None,
        };
        match found {
            Some(n) if range.contains(&n) => T::try_from(n).ok(),
            Some(n) => {
                let name = self.name(key);
                self.problem(
                    &node.at,
                    format!("`{name}` is {n}, but must be from {} to {}", range.start(), range.end()),
                );
                None
            }
            None => {
                self.wrong(key, node, "a whole number");
                None
            }
        }
    }

    /// Something written as a string: an address, a duration.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        let node = self.take(key)?;
        let Value::Text(s) = &node.value else {
            self.wrong(key, node, "a string");
            return None;
        };
        match s.trim().parse() {
            Ok(v) => Some(v),
            Err(e) => {
                self.problem(&node.at, format!("`{}` = {s:?}: {e}", self.name(key)));
                None
            }
        }
    }

    /// A duration such as `"10s"`.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed::<duration::Text>(key).map(|d| d.0)
    }

    /// A list of strings; one string alone is a list of one.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let node = self.take(key)?;
        let items = match &node.value {
            Value::Text(s) => return Some(vec![s.clone()]),
            Value::List(items) => items,
            _ => {
                self.wrong(key, node, "a list of strings");
                return None;
            }
        };
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Text(s) => out.push(s.clone()),
                _ => self.wrong(key, item, "a list of strings"),
            }
        }
        Some(out)
    }

    /// A block of free keys with scalar values.
    pub fn table(&mut self, key: &'static str) -> Option<BTreeMap<String, String>> {
        let node = self.take(key)?;
        let entries = self.entries_of(key, node)?;
        let mut out = BTreeMap::new();
        for (name, _, value) in entries {
            let text = match &value.value {
                Value::Text(s) => s.clone(),
                Value::Bool(b) => b.to_string(),
                Value::Int(n) => n.to_string(),
                Value::Float(n) => n.to_string(),
                _ => {
                    self.wrong(key, value, "a block of plain values");
                    continue;
                }
            };
            out.insert(name.to_owned(), text);
        }
        Some(out)
    }

    /// Read a block inside this one.
    pub fn section(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'a>)) {
        let Some(node) = self.take(key) else { return };
        let Some(entries) = self.entries_of(key, node) else { return };
        let mut inner = Section { path: self.name(key), entries, known: Vec::new(), problems: self.problems };
        read(&mut inner);
        inner.finish();
    }

    /// Read every labelled block of a kind: `plugin "docker" { … }`.
    pub fn labelled(&mut self, key: &'static str, mut read: impl FnMut(&str, &Position, &mut Section<'a>)) {
        let Some(node) = self.take(key) else { return };
        let Some(entries) = self.entries_of(key, node) else { return };
        for (label, at, node) in entries {
            let Some(entries) = self.entries_of(key, node) else { continue };
            let path = format!("{}.{label}", self.name(key));
            let mut inner = Section { path, entries, known: Vec::new(), problems: self.problems };
            read(label, at, &mut inner);
            inner.finish();
        }
    }

    /// The entries of a block. JSON written for other tools wraps blocks in lists; those flow together.
    fn entries_of(&self, key: &str, node: &'a Node) -> Option<Vec<(&'a str, &'a Position, &'a Node)>> {
        let maps: Vec<&'a Map> = match &node.value {
            Value::Map(map) => vec![map],
            Value::List(items) if items.iter().all(|i| matches!(i.value, Value::Map(_))) => {
                items.iter().filter_map(|i| if let Value::Map(m) = &i.value { Some(m) } else { None }).collect()
            }
            _ => {
                self.wrong(key, node, "a block");
                return None;
            }
        };
        let mut out: Vec<(&'a str, &'a Position, &'a Node)> = Vec::new();
        for (name, (at, value)) in maps.into_iter().flatten() {
            if out.iter().any(|(n, _, _)| n == name) {
                self.problem(at, format!("`{}.{name}` was given twice", self.name(key)));
            } else {
                out.push((name, at, value));
            }
        }
        Some(out)
    }

    /// Do not look at what is left.
    pub fn forget(&mut self) {
        self.entries.clear();
    }

    /// Complain about every key nobody asked for.
    pub fn finish(&self) {
        for (key, at, _) in &self.entries {
            if self.known.iter().any(|k| k == key) {
                continue;
            }
            let place = if self.path.is_empty() { "the configuration".to_owned() } else { format!("`{}`", self.path) };
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("it knows: {}", self.known.join(", ")),
            };
            self.problem(at, format!("unknown key `{key}` in {place}; {hint}"));
        }
    }
}

/// `true`, `1`, `on` and their opposites.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Some(true),
        "false" | "0" | "off" | "no" => Some(false),
        _ => None,
    }
}
