//! Names: what may stand in them, so that they are safe in paths, URLs, environment variables and DNS.

use std::collections::BTreeMap;

use super::Report;

/// A job's id or name: anything printable without blanks; `/` is allowed, climbing up with it is not.
pub fn job(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.len() > 255 {
        return Some("is longer than 255 bytes");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("holds a blank or control character; use \"-\" instead");
    }
    if text.split('/').any(|part| part == "." || part == "..") {
        return Some("holds \".\" or \"..\" between slashes");
    }
    None
}

/// Letters, digits, `-`, `_`, `.`; for namespaces and the like.
pub fn simple(text: &str, max: usize) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".into());
    }
    if text.len() > max {
        return Some(format!("is longer than {max} bytes"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.chars().all(plain) || text == "." || text == ".." {
        return Some("may hold letters, digits, \"-\", \"_\" and \".\" only".into());
    }
    None
}

/// A group's or task's name: it becomes a directory.
pub fn directory(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".into());
    }
    if text.len() > 128 {
        return Some("is longer than 128 bytes".into());
    }
    if text.chars().any(|c| c == '/' || c == '\\' || c.is_control()) || text == "." || text == ".." {
        return Some("holds a character that cannot stand in a directory name".into());
    }
    None
}

/// A service's name once its `${…}` are filled in: a DNS label.
pub fn service(text: &str) -> Option<String> {
    let (filled, open) = without_references(text);
    if filled.is_empty() && !open {
        return Some("is empty".into());
    }
    if filled.len() > 63 {
        return Some("is longer than 63 characters, the most a DNS label may have".into());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !filled.chars().all(plain) || filled.starts_with('-') || filled.ends_with('-') {
        return Some("may hold letters, digits and \"-\" only, with \"-\" not at an end: it becomes a DNS name".into());
    }
    None
}

/// The text with each `${…}` replaced by one letter, and whether there was one.
pub fn without_references(text: &str) -> (String, bool) {
    let mut out = String::new();
    let mut rest = text;
    let mut open = false;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((_, tail)) = after.split_once('}') else {
            return (out + "${" + after, open);
        };
        out.push('x');
        open = true;
        rest = tail;
    }
    (out + rest, open)
}

/// A port's label: it becomes part of an environment variable.
pub fn port(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".into());
    }
    if text.len() > 63 || !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return Some("may hold letters, digits, \"_\" and \"-\" only, 63 at most".into());
    }
    None
}

/// Keys of `meta` and `env`.
pub fn keys(map: &BTreeMap<String, String>, what: &str, place: &str, report: &mut Report) {
    for (key, value) in map {
        report.rule(!key.is_empty() && !key.contains(['=', '\0']), place, || {
            format!("the key {key:?} of \"{what}\" must not be empty nor hold \"=\" or NUL")
        });
        report.rule(!value.contains('\0'), place, || format!("the value of {key:?} in \"{what}\" holds a NUL byte"));
    }
}
