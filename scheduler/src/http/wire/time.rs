//! Times and durations as Go's JSON writes them.

use std::time::Duration;

use model::Timestamp;
use serde_json::Value;

/// Go's zero time; what an unset moment looks like on the wire.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 in UTC with as many decimals as are not zero.
#[must_use]
pub fn rfc3339(t: Timestamp) -> String {
    if t.is_zero() {
        return ZERO.to_owned();
    }
    let (secs, nanos) = (t.0 / 1_000_000_000, t.0 % 1_000_000_000);
    let (year, month, day) = civil(secs / 86_400);
    let (h, m, s) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let fraction = match nanos {
        0 => String::new(),
        n => format!(".{n:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}{fraction}Z")
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Works in 400-year eras that begin on 1 March, so that the leap day is the last of its year.
fn civil(day: u64) -> (u64, u64, u64) {
    const DAYS_TO_EPOCH: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let z = day + DAYS_TO_EPOCH;
    let (era, of_era) = (z / DAYS_PER_ERA, z % DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Nanoseconds, saturating.
#[must_use]
pub fn nanos(d: Duration) -> Value {
    Value::from(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// A Go duration: `300ms`, `1h30m`, `1.5s`, `0`; `None` when it is not one, or negative.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        let unit = match &rest[digits..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += amount * unit;
        rest = &rest[unit_end..];
    }
    (!text.is_empty() && nanos <= 9.2e18).then(|| Duration::from_nanos(nanos as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (secs, wanted) in [
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_secs(secs)), wanted);
        }
        assert_eq!(rfc3339(Timestamp(1_500_000_000_120_000_000)), "2017-07-14T02:40:00.12Z");
        assert_eq!(rfc3339(Timestamp::ZERO), ZERO);
    }

    #[test]
    fn durations() {
        for (text, ms) in [("300ms", 300), ("1h30m", 5_400_000), ("1.5s", 1500), ("0", 0), ("10000ms", 10_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1s2", "999999999h", "1..5s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_moment_and_any_text_can_be_handled(nanos: u64, text in "[0-9.a-zµ-]{0,20}") {
            let shown = rfc3339(Timestamp(nanos));
            proptest::prop_assert!(shown.ends_with('Z') && shown.len() >= 20);
            // What can be read is "0" or ends in a unit.
            proptest::prop_assert!(parse_duration(&text).is_none() || text == "0" || text.ends_with(['s', 'm', 'h']));
        }
    }
}
