//! Texts.

use model::driver_config::Value;

use super::{Answer, Args, Function, list_of};

/// Longer patterns are refused before they are compiled.
const MAX_PATTERN: usize = 1024;

pub const FUNCTIONS: &[(&str, Function)] = &[
    ("chomp", |a| one(a, |s| s.trim_end_matches(['\n', '\r']).to_owned())),
    ("indent", indent),
    ("join", join),
    ("lower", |a| one(a, |s| s.to_lowercase())),
    ("upper", |a| one(a, |s| s.to_uppercase())),
    ("title", |a| one(a, title)),
    ("trim", |a| two(a, |s, cut| s.trim_matches(|c| cut.contains(c)).to_owned())),
    ("trimprefix", |a| two(a, |s, p| s.strip_prefix(p).unwrap_or(s).to_owned())),
    ("trimsuffix", |a| two(a, |s, p| s.strip_suffix(p).unwrap_or(s).to_owned())),
    ("trimspace", |a| one(a, |s| s.trim().to_owned())),
    ("replace", replace),
    ("regex_replace", regex_replace),
    ("split", split),
    ("strlen", |a| Ok(Value::Int(i64::try_from(a.text(a.exactly::<1>()?[0])?.chars().count()).unwrap_or(i64::MAX)))),
    ("strrev", |a| one(a, |s| s.chars().rev().collect())),
    ("reverse", |a| one(a, |s| s.chars().rev().collect())),
    ("substr", substr),
];

fn one(a: &Args<'_>, f: impl Fn(&str) -> String) -> Answer {
    let [s] = a.exactly()?;
    Ok(Value::Str(f(&a.text(s)?)))
}

fn two(a: &Args<'_>, f: impl Fn(&str, &str) -> String) -> Answer {
    let [s, t] = a.exactly()?;
    Ok(Value::Str(f(&a.text(s)?, &a.text(t)?)))
}

fn title(s: &str) -> String {
    let mut start = true;
    s.chars()
        .flat_map(|c| {
            let upper = start && c.is_alphabetic();
            start = !c.is_alphanumeric() && c != '\'';
            if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

fn indent(a: &Args<'_>) -> Answer {
    let [n, s] = a.exactly()?;
    let n = a.int(n)?;
    let pad = " "
        .repeat(usize::try_from(n).ok().filter(|n| *n <= 1000).ok_or_else(|| a.fail(format!("cannot indent by {n}")))?);
    Ok(Value::Str(a.text(s)?.replace('\n', &format!("\n{pad}"))))
}

fn join(a: &Args<'_>) -> Answer {
    let all = a.at_least(2)?;
    let mut parts = Vec::new();
    for list in &all[1..] {
        parts.extend(a.texts(list)?);
    }
    Ok(Value::Str(parts.join(&a.text(&all[0])?)))
}

/// A pattern between slashes is a regular expression.
fn replace(a: &Args<'_>) -> Answer {
    let [s, from, to] = a.exactly()?;
    let (s, from, to) = (a.text(s)?, a.text(from)?, a.text(to)?);
    match from.strip_prefix('/').and_then(|f| f.strip_suffix('/')) {
        Some(pattern) if !pattern.is_empty() => with_pattern(a, &s, pattern, &to),
        _ if s.len().saturating_mul(to.len().max(1)) > 1 << 24 => Err(a.fail("the result would be too large")),
        _ => Ok(Value::Str(s.replace(&from, &to))),
    }
}

fn regex_replace(a: &Args<'_>) -> Answer {
    let [s, pattern, to] = a.exactly()?;
    with_pattern(a, &a.text(s)?, &a.text(pattern)?, &a.text(to)?)
}

fn with_pattern(a: &Args<'_>, s: &str, pattern: &str, to: &str) -> Answer {
    if pattern.len() > MAX_PATTERN {
        return Err(a.fail(format!("the pattern is longer than {MAX_PATTERN} bytes")));
    }
    if s.len().saturating_mul(to.len().max(1)) > 1 << 24 {
        return Err(a.fail("the result would be too large"));
    }
    let pattern = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|e| a.fail(e))?;
    Ok(Value::Str(pattern.replace_all(s, to).into_owned()))
}

fn split(a: &Args<'_>) -> Answer {
    let [by, s] = a.exactly()?;
    let (by, s) = (a.text(by)?, a.text(s)?);
    if by.is_empty() {
        return Ok(list_of(s.chars().map(String::from)));
    }
    Ok(list_of(s.split(by.as_str()).map(str::to_owned)))
}

fn substr(a: &Args<'_>) -> Answer {
    let [s, offset, length] = a.exactly()?;
    let (s, offset, length) = (a.text(s)?, a.int(offset)?, a.int(length)?);
    let chars: Vec<char> = s.chars().collect();
    let count = i64::try_from(chars.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { count.saturating_add(offset) } else { offset }.clamp(0, count);
    let end = if length < 0 { count } else { start.saturating_add(length).min(count) };
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    Ok(Value::Str(chars[range].iter().collect()))
}
