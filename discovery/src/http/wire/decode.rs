//! Reading JSON bodies: keys in any case, with or without underscores, and none that nobody asked for.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::http::{Error, duration};

/// The fields of one object; each is taken once, and what is left over is an error.
#[derive(Debug)]
pub struct Fields {
    map: BTreeMap<String, (String, Value)>,
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::BadRequest(format!("Request decode failed: {why}"))
}

fn wrong(name: &str, wanted: &str) -> Error {
    failed(format!("json: field {name:?} must be {wanted}"))
}

fn plain(key: &str) -> String {
    key.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

impl Fields {
    /// A body that must hold one object.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(failed("EOF"));
        }
        let value: Value = serde_json::from_slice(body).map_err(failed)?;
        Self::of("the body", value)
    }

    fn of(what: &str, value: Value) -> Result<Self, Error> {
        match value {
            Value::Null => Ok(Self { map: BTreeMap::new() }),
            Value::Object(map) => Ok(Self { map: map.into_iter().map(|(k, v)| (plain(&k), (k, v))).collect() }),
            _ => Err(failed(format!("json: {what} must be an object"))),
        }
    }

    /// The value of a field, unless it is missing or null.
    pub fn any(&mut self, name: &str) -> Option<Value> {
        self.map.remove(&plain(name)).map(|(_, v)| v).filter(|v| !v.is_null())
    }

    /// Text of at most `max` bytes without control characters; empty when missing.
    pub fn text(&mut self, name: &str, max: usize) -> Result<String, Error> {
        match self.any(name) {
            None => Ok(String::new()),
            Some(Value::String(s)) => bounded(name, s, max),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    pub fn number(&mut self, name: &str, max: u64) -> Result<u64, Error> {
        self.any(name).map_or(Ok(0), |v| {
            v.as_u64().filter(|n| *n <= max).ok_or_else(|| wrong(name, &format!("a number from 0 to {max}")))
        })
    }

    pub fn boolean(&mut self, name: &str) -> Result<bool, Error> {
        self.any(name).map_or(Ok(false), |v| v.as_bool().ok_or_else(|| wrong(name, "true or false")))
    }

    /// Zero when missing.
    pub fn duration(&mut self, name: &str) -> Result<Duration, Error> {
        self.any(name).map_or(Ok(Duration::ZERO), |v| {
            duration::from_json(&v).ok_or_else(|| wrong(name, "a duration such as \"10s\""))
        })
    }

    pub fn texts(&mut self, name: &str, max: usize) -> Result<Vec<String>, Error> {
        self.list(name)?
            .into_iter()
            .map(|v| match v {
                Value::String(s) => bounded(name, s, max),
                _ => Err(wrong(name, "a list of strings")),
            })
            .collect()
    }

    pub fn text_map(&mut self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        match self.any(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(map)) => map
                .into_iter()
                .map(|(k, v)| match v {
                    Value::String(s) => Ok((k, s)),
                    _ => Err(wrong(name, "a map of strings")),
                })
                .collect(),
            Some(_) => Err(wrong(name, "a map of strings")),
        }
    }

    /// Lists of text by key: HTTP headers.
    pub fn lists_map(&mut self, name: &str) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let value = self.any(name).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        serde_json::from_value(value).map_err(|_| wrong(name, "a map of lists of strings"))
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Self>, Error> {
        self.any(name).map(|v| Self::of(&format!("field {name:?}"), v)).transpose()
    }

    pub fn objects(&mut self, name: &str) -> Result<Vec<Self>, Error> {
        self.list(name)?.into_iter().map(|v| Self::of(&format!("an entry of {name:?}"), v)).collect()
    }

    /// Every field with its name as it was written, for maps whose keys are names.
    pub fn named_objects(&mut self, name: &str) -> Result<Vec<(String, Self)>, Error> {
        let Some(fields) = self.object(name)? else { return Ok(Vec::new()) };
        fields.map.into_values().map(|(key, v)| Ok((key.clone(), Self::of(&key, v)?))).collect()
    }

    fn list(&mut self, name: &str) -> Result<Vec<Value>, Error> {
        match self.any(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(wrong(name, "a list")),
        }
    }

    /// Read but not used: fields that other parts of Consul need.
    pub fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.map.remove(&plain(name));
        }
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), Error> {
        match self.map.into_values().next() {
            None => Ok(()),
            Some((name, _)) => Err(failed(format!("json: unknown field {name:?}"))),
        }
    }
}

fn bounded(name: &str, text: String, max: usize) -> Result<String, Error> {
    if text.len() > max {
        return Err(failed(format!("json: field {name:?} is longer than {max} bytes")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        return Err(failed(format!("json: field {name:?} has control characters")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_in_any_spelling_and_strangers_are_refused() {
        let mut f = Fields::parse(br#"{"enable_TAG_override":true,"PORT":80,"Interval":"10s","x":1}"#).expect("reads");
        assert!(f.boolean("EnableTagOverride").expect("a bool"));
        assert_eq!(f.number("Port", 65535).expect("a number"), 80);
        assert_eq!(f.duration("Interval").expect("a duration"), Duration::from_secs(10));
        assert_eq!(f.finish().expect_err("a stranger").to_string(), "Request decode failed: json: unknown field \"x\"");
    }

    #[test]
    fn bad_bodies_are_named() {
        for (body, words) in [
            ("", "EOF"),
            ("[]", "must be an object"),
            ("{", "EOF while parsing"),
            (r#"{"Port":70000}"#, "from 0 to 65535"),
            (r#"{"Port":-1}"#, "from 0 to 65535"),
            (r#"{"Port":"80"}"#, "from 0 to 65535"),
            (r#"{"Port":1e400}"#, "number out of range"),
        ] {
            let result = Fields::parse(body.as_bytes()).and_then(|mut f| f.number("Port", 65535));
            assert!(result.is_err_and(|e| e.to_string().contains(words)), "{body}");
        }
        assert!(Fields::parse("[".repeat(100_000).as_bytes()).is_err());
        let mut f = Fields::parse(br#"{"Name":"a\u0000b","Tags":["ok",1],"T":"1y"}"#).expect("reads");
        assert!(f.text("Name", 10).is_err() && f.texts("Tags", 10).is_err() && f.duration("T").is_err());
    }
}
