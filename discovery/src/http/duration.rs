//! Durations as Go writes them: `10s`, `1m30s`, `120000ms`.

use std::time::Duration;

use serde_json::Value;

/// The longest duration that is read: a year and a bit.
const MAX: Duration = Duration::from_secs(400 * 86_400);

/// Read `1h2m3.5s`. `None` when it is not a duration, is negative or is out of reason.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[end..];
        total += number * unit;
    }
    Duration::try_from_secs_f64(total).ok().filter(|d| *d <= MAX)
}

/// A duration in JSON: text, or a number of nanoseconds.
pub(super) fn from_json(value: &Value) -> Option<Duration> {
    match value {
        Value::String(s) if s.is_empty() => Some(Duration::ZERO),
        Value::String(s) => parse(s),
        Value::Number(n) => n.as_u64().map(Duration::from_nanos).filter(|d| *d <= MAX),
        _ => None,
    }
}

/// Write as Go does.
pub(super) fn text(d: Duration) -> String {
    let fraction = |whole: u64, rest: u32, digits: usize, unit: &str| {
        let mut text = format!("{whole}");
        if rest > 0 {
            text.push_str(format!(".{rest:0digits$}").trim_end_matches('0'));
        }
        text + unit
    };
    if d.is_zero() {
        return "0s".into();
    }
    if d < Duration::from_millis(1) {
        let nanos = d.subsec_nanos();
        return if nanos < 1000 {
            format!("{nanos}ns")
        } else {
            fraction(u64::from(nanos / 1000), nanos % 1000, 3, "µs")
        };
    }
    if d < Duration::from_secs(1) {
        return fraction(u64::from(d.subsec_millis()), d.subsec_nanos() % 1_000_000, 6, "ms");
    }
    let (hours, minutes) = (d.as_secs() / 3600, d.as_secs() / 60 % 60);
    let seconds = fraction(d.as_secs() % 60, d.subsec_nanos(), 9, "s");
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, m) => format!("{m}m{seconds}"),
        (h, m) => format!("{h}h{m}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_go_does() {
        for (written, read) in [
            ("10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h0m0s", 3_600_000_000_000),
            ("250ms", 250_000_000),
            ("1.5ms", 1_500_000),
            ("2µs", 2_000),
            ("7ns", 7),
            ("0s", 0),
            ("1.000000001s", 1_000_000_001),
        ] {
            let d = Duration::from_nanos(read);
            assert_eq!(text(d), written);
            assert_eq!(parse(written), Some(d), "{written}");
        }
        for bad in ["", "10", "s", "-5s", "1x", "1..2s", "9999999h", "1s2", ".s", "NaNs"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(from_json(&serde_json::json!(5_000_000_000u64)), Some(Duration::from_secs(5)));
        assert_eq!(from_json(&serde_json::json!(-1)), None);
        assert_eq!(from_json(&serde_json::json!(1e300)), None);
    }
}
