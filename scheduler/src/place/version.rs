//! Version constraints: `>= 1.2, < 2.0`, `~> 1.4`, for dotted versions of any length.

use std::cmp::Ordering;

/// How pre-releases are treated, and how strict the form is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Any number of segments; a pre-release satisfies a range only when the range names a pre-release.
    Loose,
    /// Exactly three segments; a pre-release sorts before its release, and that is all.
    Semver,
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    parts: Vec<u64>,
    pre: String,
}

impl Version {
    fn parse(text: &str, rules: Rules) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split('+').next()?;
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let parts: Vec<u64> = numbers.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        (rules == Rules::Loose || parts.len() == 3).then(|| Self { parts, pre: pre.to_owned() })
    }

    fn part(&self, i: usize) -> u64 {
        self.parts.get(i).copied().unwrap_or(0)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let n = self.parts.len().max(other.parts.len());
        let numbers = (0..n).map(|i| self.part(i).cmp(&other.part(i))).find(|o| o.is_ne());
        numbers.unwrap_or_else(|| compare_pre(&self.pre, &other.pre))
    }
}

/// Nothing is later than something; numbers sort before words; longer is later.
fn compare_pre(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut x, mut y) = (a.split('.'), b.split('.'));
    loop {
        let order = match (x.next(), y.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(p), Some(q)) => match (p.parse::<u64>(), q.parse::<u64>()) {
                (Ok(p), Ok(q)) => p.cmp(&q),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => p.cmp(q),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Whether `version` satisfies every comma-separated part of `constraint`. Unreadable text satisfies nothing.
#[must_use]
pub fn matches(version: &str, constraint: &str, rules: Rules) -> bool {
    let Some(v) = Version::parse(version, rules) else { return false };
    constraint.split(',').all(|part| one(&v, part.trim(), rules).unwrap_or(false))
}

fn one(v: &Version, part: &str, rules: Rules) -> Option<bool> {
    let at = part.find(|c: char| !"<>=!~".contains(c)).unwrap_or(part.len());
    let (op, text) = part.split_at(at);
    let want = Version::parse(text, rules)?;
    let order = v.compare(&want);
    let ranged = !matches!(op, "" | "=" | "!=");
    if rules == Rules::Loose && ranged && !v.pre.is_empty() {
        let same_numbers = (0..v.parts.len().max(want.parts.len())).all(|i| v.part(i) == want.part(i));
        if want.pre.is_empty() || !same_numbers {
            return Some(false);
        }
    }
    Some(match op {
        "" | "=" => order.is_eq(),
        "!=" => order.is_ne(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        "~>" if rules == Rules::Loose => {
            // All but the last named segment are fixed.
            let fixed = want.parts.len().saturating_sub(1).max(1);
            order.is_ge() && (0..fixed).all(|i| v.part(i) == want.part(i))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose() {
        for (v, c, want) in [
            ("1.2.3", "= 1.2.3", true),
            ("1.2", "1.2.0", true),
            ("v1.2.3", ">= 1.2", true),
            ("1.10", "> 1.9", true),
            ("1.4.5", "~> 1.4.2", true),
            ("1.5.0", "~> 1.4.2", false),
            ("1.5.0", "~> 1.4", true),
            ("2.0.0", "~> 1.4", false),
            ("1.7.0-beta1", ">= 1.6", false),
            ("1.7.0-beta2", ">= 1.7.0-beta1", true),
            ("5.15.0.91", ">= 5.4", true),
            ("nope", ">= 1", false),
            ("1.0", "=> 1", false),
            ("1.0", "", false),
            ("1.5", ">= 1, != 1.5", false),
        ] {
            assert_eq!(matches(v, c, Rules::Loose), want, "{v} {c}");
        }
    }

    #[test]
    fn semver() {
        for (v, c, want) in [
            ("1.7.0-beta1", ">= 1.6.0", true),
            ("1.7.0-beta1", ">= 1.7.0", false),
            ("1.7.0-rc.10", "> 1.7.0-rc.9", true),
            ("1.7", ">= 1.6.0", false),
            ("1.7.0", "~> 1.6.0", false),
        ] {
            assert_eq!(matches(v, c, Rules::Semver), want, "{v} {c}");
        }
    }
}
