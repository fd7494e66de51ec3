//! Durations as they are written: `500ms`, `10s`, `1h30m`.

use std::{str::FromStr, time::Duration};

/// A parsed duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text(pub Duration);

/// Text that is no duration, and how one is written.
#[derive(Debug, thiserror::Error)]
#[error("not a duration: write a number with ms, s, m or h, such as \"10s\" or \"1h30m\"")]
pub struct NotADuration;

/// A duration as the configuration and flags write it.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    text.parse::<Text>().map(|t| t.0)
}

impl FromStr for Text {
    type Err = NotADuration;

    fn from_str(s: &str) -> Result<Self, NotADuration> {
        let mut total = 0f64;
        let mut rest = s.trim();
        if rest.is_empty() {
            return Err(NotADuration);
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotADuration)?;
            let number: f64 = rest[..digits].parse().map_err(|_| NotADuration)?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit = match &rest[..letters] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return Err(NotADuration),
            };
            rest = &rest[letters..];
            total += number * unit;
        }
        Duration::try_from_secs_f64(total).map(Text).map_err(|_| NotADuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let parse = |s: &str| s.parse::<Text>().ok().map(|t| t.0);
        assert_eq!(parse("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for bad in ["", "10", "s", "-1s", "1x", "1s2", "1e400h", "99999999999999999999999h"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
