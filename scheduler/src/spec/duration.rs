//! Durations as job files write them: `1h30m`, `250ms`, or whole nanoseconds.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotADuration {
    #[error("{0:?} is not a duration; write a number with a unit, such as \"30s\", \"5m\" or \"1h30m\"")]
    Form(String),
    #[error("{0:?} has no unit; write \"{0}s\" for seconds")]
    NoUnit(String),
    #[error("a duration must not be negative: {0:?}")]
    Negative(String),
    #[error("{0:?} is longer than 292 years, the longest duration there is")]
    TooLong(String),
}

/// Nanoseconds must fit the signed 64-bit number that clients send and expect.
const MAX_NANOS: u128 = i64::MAX as u128;

/// The longest duration a job can hold: 292 years.
pub const MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// Parse `1h30m`, `1.5h`, `250ms`, `0`. Units: `ns us µs ms s m h d`.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let t = text.trim();
    if t == "0" {
        return Ok(Duration::ZERO);
    }
    if let Some(rest) = t.strip_prefix('-') {
        return Err(if parse(rest).is_ok() {
            NotADuration::Negative(text.to_owned())
        } else {
            NotADuration::Form(text.to_owned())
        });
    }
    let mut rest = t.strip_prefix('+').unwrap_or(t);
    if rest.is_empty() || rest.len() > 64 {
        return Err(NotADuration::Form(text.chars().take(64).collect()));
    }
    if rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotADuration::NoUnit(text.to_owned()));
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number_len = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let part = unit_nanos(unit).and_then(|u| scale(number, u));
        nanos += part.ok_or_else(|| NotADuration::Form(text.to_owned()))?;
        if nanos > MAX_NANOS {
            return Err(NotADuration::TooLong(text.to_owned()));
        }
        rest = tail;
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| NotADuration::TooLong(text.to_owned()))
}

/// A whole number of nanoseconds, as JSON carries durations.
///
/// # Errors
/// When negative.
pub fn from_nanos(n: i64) -> Result<Duration, NotADuration> {
    u64::try_from(n).map(Duration::from_nanos).map_err(|_| NotADuration::Negative(n.to_string()))
}

/// Nanoseconds for JSON; saturates, though no accepted duration is that long.
pub fn to_nanos(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    })
}

fn scale(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 20 || fraction.contains('.') {
        return None;
    }
    let mut sum = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()?.checked_mul(unit)? };
    let mut place = unit;
    for digit in fraction.bytes().take(18) {
        place /= 10;
        sum += u128::from(digit - b'0') * place;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse(".5s"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn bad_durations_say_why() {
        assert_eq!(parse("5"), Err(NotADuration::NoUnit("5".into())));
        assert_eq!(parse("-5s"), Err(NotADuration::Negative("-5s".into())));
        assert!(matches!(parse("1e9h"), Err(NotADuration::Form(_))));
        assert!(matches!(parse("9999999h"), Err(NotADuration::TooLong(_))));
        for bad in ["", "s", "5 s x", "1..5s", "--1s", "5x"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
