//! Reading a driver's `config` block: typed fields, and an error for every key nobody asked for.

use std::collections::BTreeMap;

use model::driver_config::Value;

use super::Error;

/// The fields of a block that are not read yet.
#[derive(Debug)]
pub struct Fields<'a> {
    place: String,
    left: BTreeMap<&'a str, &'a Value>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// `place` names the block in messages: `docker config`.
    pub fn new(place: impl Into<String>, value: &'a Value) -> Result<Self, Error> {
        let place = place.into();
        let left = match value {
            Value::Map(m) => m.iter().map(|(k, v)| (k.as_str(), v)).collect(),
            Value::Null => BTreeMap::new(),
            // A block written once may arrive as a list of one.
            Value::List(l) if l.len() == 1 => return Self::new(place, &l[0]),
            _ => return Err(Error::Config(format!("{place} must be a block of key = value"))),
        };
        Ok(Self { place, left, asked: Vec::new() })
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        self.left.remove(key).filter(|v| !matches!(v, Value::Null))
    }

    fn wrong(&self, key: &str, want: &str, got: &Value) -> Error {
        let shown: String = format!("{got:?}").chars().take(80).collect();
        Error::Config(format!("{}: {key} must be {want}, not {shown}", self.place))
    }

    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.take(key)
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        self.take(key).map(|v| text(v).ok_or_else(|| self.wrong(key, "text", v))).transpose()
    }

    /// A field that must be there.
    pub fn required(&mut self, key: &'static str) -> Result<String, Error> {
        match self.text(key)?.filter(|s| !s.is_empty()) {
            Some(s) => Ok(s),
            None => Err(Error::Config(format!("{}: {key} is missing", self.place))),
        }
    }

    pub fn flag(&mut self, key: &'static str) -> Result<bool, Error> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(b)) => Ok(*b),
            Some(Value::Str(s)) if s == "true" || s == "1" => Ok(true),
            Some(Value::Str(s)) if s == "false" || s == "0" || s.is_empty() => Ok(false),
            Some(v) => Err(self.wrong(key, "true or false", v)),
        }
    }

    pub fn number(&mut self, key: &'static str) -> Result<Option<i64>, Error> {
        let Some(v) = self.take(key) else { return Ok(None) };
        match v {
            Value::Int(i) => Ok(Some(*i)),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.0e15 => Ok(Some(*f as i64)),
            Value::Str(s) => s.parse().map(Some).map_err(|_| self.wrong(key, "a whole number", v)),
            _ => Err(self.wrong(key, "a whole number", v)),
        }
    }

    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Error> {
        let Some(v) = self.take(key) else { return Ok(Vec::new()) };
        match v {
            Value::List(l) => l.iter().map(|i| text(i).ok_or_else(|| self.wrong(key, "a list of texts", v))).collect(),
            other => text(other).map(|t| vec![t]).ok_or_else(|| self.wrong(key, "a list of texts", v)),
        }
    }

    /// A map of texts: one block, one map, or several blocks one after the other.
    pub fn map(&mut self, key: &'static str) -> Result<BTreeMap<String, String>, Error> {
        let Some(v) = self.take(key) else { return Ok(BTreeMap::new()) };
        let maps: Vec<&Value> = match v {
            Value::List(l) => l.iter().collect(),
            other => vec![other],
        };
        let mut out = BTreeMap::new();
        for m in maps {
            let m = m.as_map().ok_or_else(|| self.wrong(key, "a map of texts", v))?;
            for (k, item) in m {
                out.insert(k.clone(), text(item).ok_or_else(|| self.wrong(key, "a map of texts", v))?);
            }
        }
        Ok(out)
    }

    /// Repeated blocks of the same name.
    pub fn blocks(&mut self, key: &'static str) -> Vec<&'a Value> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::List(l)) => l.iter().collect(),
            Some(one) => vec![one],
        }
    }

    /// A key that exists elsewhere and is not built here: say so instead of ignoring it.
    pub fn not_built(&mut self, keys: &[&'static str]) -> Result<(), Error> {
        for key in keys {
            if self.take(key).is_some() {
                return Err(Error::NotBuilt(format!(
                    "{}: {key} is not built in this version of Trine; remove it from the job",
                    self.place
                )));
            }
        }
        Ok(())
    }

    /// Nothing may be left over.
    pub fn finish(self) -> Result<(), Error> {
        let Some(key) = self.left.keys().next() else { return Ok(()) };
        let near = self.asked.iter().filter(|k| close(k, key)).min_by_key(|k| distance(k, key));
        let hint = near.map_or_else(String::new, |k| format!("; did you mean {k:?}?"));
        Err(Error::Config(format!("{}: {key:?} is not a known key{hint}", self.place)))
    }
}

fn text(v: &Value) -> Option<String> {
    match v {
        Value::Str(s) => Some(s.clone()),
        Value::Int(i) => Some(i.to_string()),
        Value::Float(f) => Some(f.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn close(a: &str, b: &str) -> bool {
    distance(a, b) <= 1 + a.len().min(b.len()) / 4
}

/// Edits between two short names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let next = (corner + usize::from(ca != *cb)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pairs: &[(&str, Value)]) -> Value {
        Value::Map(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn unknown_keys_name_the_likely_one() {
        let v = block(&[("comand", Value::Str("x".into()))]);
        let mut f = Fields::new("raw_exec config", &v).expect("a block");
        assert_eq!(f.text("command").expect("reads"), None);
        let e = f.finish().expect_err("unknown").to_string();
        assert_eq!(e, "raw_exec config: \"comand\" is not a known key; did you mean \"command\"?");
    }

    #[test]
    fn wrong_types_are_errors() {
        let v = block(&[("args", Value::Bool(true)), ("n", Value::Str("x".into()))]);
        let mut f = Fields::new("c", &v).expect("a block");
        assert_eq!(f.texts("args").expect("weak"), ["true"]);
        assert!(f.number("n").is_err());
        assert!(Fields::new("c", &Value::Int(1)).is_err());
    }
}
