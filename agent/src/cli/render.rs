//! Text for people: aligned tables, `Key = Value` blocks, times as words, colour only on a terminal.
//!
//! stdout carries data only; talk goes to stderr. `NO_COLOR` and `-no-color` are honoured.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

static NO_COLOUR: AtomicBool = AtomicBool::new(false);

/// Switch colour off for this run (`-no-color`).
pub fn without_colour() {
    NO_COLOUR.store(true, Ordering::Relaxed);
}

/// A few colours of meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Good,
    Warn,
    Bad,
    Bold,
}

/// `text` in a colour, if stdout is a terminal that wants one.
#[must_use]
pub fn paint(text: &str, paint: Paint) -> String {
    let wanted =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() && !NO_COLOUR.load(Ordering::Relaxed);
    if !wanted {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Good => 32,
        Paint::Warn => 33,
        Paint::Bad => 31,
        Paint::Bold => 1,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A table with its columns two spaces apart.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = cells.zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = paint(&line(&mut head.iter().copied()), Paint::Bold);
    for row in rows {
        out.push('\n');
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// `Key = Value` lines, the equals signs below each other. Pairs without a value are left out.
#[must_use]
pub fn block(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(k, _)| k.chars().count()).max().unwrap_or(0);
    let lines: Vec<_> =
        pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k:<width$} = {v}")).collect();
    lines.join("\n")
}

/// A heading over a block or table.
pub fn heading(text: &str) {
    println!("\n{}", paint(text, Paint::Bold));
}

/// The first eight characters of an id.
#[must_use]
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A JSON field as text: strings bare, missing ones empty.
#[must_use]
pub fn text(v: &Value, field: &str) -> String {
    match &v[field] {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A JSON list field; missing and `null` are empty.
#[must_use]
pub fn list<'a>(v: &'a Value, field: &str) -> &'a [Value] {
    v[field].as_array().map_or(&[], Vec::as_slice)
}

/// A JSON object field's entries in order; missing and `null` are empty.
pub fn entries<'a>(v: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    v[field].as_object().into_iter().flatten()
}

/// JSON as `-json` prints it.
pub fn print_json(v: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(v)?);
    Ok(())
}

/// Seconds since the epoch, now.
#[must_use]
pub fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Nanoseconds since the epoch as `3m12s ago`.
#[must_use]
pub fn ago(nanos: &Value) -> String {
    let Some(at) = nanos.as_u64().filter(|n| *n > 0) else { return "<none>".into() };
    format!("{} ago", span(now_secs().saturating_sub(at / 1_000_000_000)))
}

/// Seconds as words, the two largest units.
#[must_use]
pub fn span(seconds: u64) -> String {
    let (d, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}m{s}s"),
        (0, _, _) => format!("{h}h{m}m"),
        _ => format!("{d}d{h}h"),
    }
}

/// Nanoseconds since the epoch as `2026-11-22T13:05:09Z`.
#[must_use]
pub fn utc(nanos: u64) -> String {
    let secs = nanos / 1_000_000_000;
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil(i64::try_from(days).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Days since 1970-01-01 as year, month, day (proleptic Gregorian; eras of 400 years beginning in March).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "long".into()], vec!["bbb".into(), String::new()]];
        assert_eq!(table(&["ID", "Name"], &rows), "ID   Name\na    long\nbbb");
    }

    #[test]
    fn times_are_words() {
        assert_eq!(
            (span(5), span(65), span(3_700), span(90_000)),
            ("5s".into(), "1m5s".into(), "1h1m".into(), "1d1h".into())
        );
        assert_eq!(utc(1_795_352_709_000_000_000), "2026-11-22T13:05:09Z");
        assert_eq!(utc(951_827_696_000_000_000), "2000-02-29T12:34:56Z");
    }
}
