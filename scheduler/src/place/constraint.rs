//! Constraints and affinities: what `${…}` names on a node, and whether an operator holds.
//!
//! `distinct_hosts` and `distinct_property` need to know the job's other allocations; they live in [`super::distinct`].

use std::{borrow::Cow, cmp::Ordering};

use model::{
    Node,
    job::{Constraint, Operator},
};

use super::version;

/// One side of a constraint with its reference filled in; `None` when the node does not have it.
#[must_use]
pub fn resolve<'a>(text: &'a str, node: &'a Node) -> Option<Cow<'a, str>> {
    if !text.contains("${") {
        return Some(Cow::Borrowed(text));
    }
    if let Some(name) = text.strip_prefix("${").and_then(|t| t.strip_suffix('}')).filter(|n| !n.contains('}')) {
        return lookup(name.trim(), node);
    }
    // Text around a reference, as in "rack-${meta.rack}".
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let end = start + rest[start..].find('}')?;
        out.push_str(&lookup(rest[start + 2..end].trim(), node)?);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

fn lookup<'a>(name: &str, node: &'a Node) -> Option<Cow<'a, str>> {
    if let Some(key) = name.strip_prefix("attr.") {
        return node.attributes.get(key).map(|v| Cow::Borrowed(v.as_str()));
    }
    if let Some(key) = name.strip_prefix("meta.") {
        return node.meta.get(key).map(|v| Cow::Borrowed(v.as_str()));
    }
    Some(match name {
        "node.unique.id" => Cow::Owned(node.id.to_string()),
        "node.unique.name" => Cow::Borrowed(node.name.as_str()),
        "node.datacenter" => Cow::Borrowed(node.datacenter.as_str()),
        "node.region" => Cow::Borrowed("global"),
        "node.class" => Cow::Borrowed(node.class.as_str()),
        "node.pool" => Cow::Borrowed(node.pool.as_str()),
        _ => return None,
    })
}

/// Whether the node satisfies `attribute operator value`. The distinct operators are always satisfied here.
#[must_use]
pub fn holds(attribute: &str, operator: Operator, value: &str, node: &Node) -> bool {
    let left = resolve(attribute, node);
    let right = resolve(value, node);
    match operator {
        Operator::DistinctHosts | Operator::DistinctProperty => return true,
        Operator::IsSet => return left.is_some(),
        Operator::IsNotSet => return left.is_none(),
        Operator::Ne => return left != right,
        _ => {}
    }
    let (Some(left), Some(right)) = (left, right) else { return false };
    match operator {
        Operator::Eq => left == right,
        Operator::Lt => compare(&left, &right) == Ordering::Less,
        Operator::Le => compare(&left, &right) != Ordering::Greater,
        Operator::Gt => compare(&left, &right) == Ordering::Greater,
        Operator::Ge => compare(&left, &right) != Ordering::Less,
        Operator::Regexp => regex::Regex::new(&right).is_ok_and(|r| r.is_match(&left)),
        Operator::Version => version::matches(&left, &right, version::Rules::Loose),
        Operator::Semver => version::matches(&left, &right, version::Rules::Semver),
        Operator::SetContainsAll => items(&right).all(|w| items(&left).any(|h| h == w)),
        Operator::SetContainsAny => items(&right).any(|w| items(&left).any(|h| h == w)),
        // Answered above.
        Operator::Ne | Operator::IsSet | Operator::IsNotSet | Operator::DistinctHosts | Operator::DistinctProperty => {
            true
        }
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// Integers, then decimals, then text: the first in which both sides can be read.
fn compare(left: &str, right: &str) -> Ordering {
    if let (Ok(l), Ok(r)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return l.cmp(&r);
    }
    if let (Ok(l), Ok(r)) = (left.parse::<f64>(), right.parse::<f64>()) {
        return l.partial_cmp(&r).unwrap_or(Ordering::Equal);
    }
    left.cmp(right)
}

/// A constraint as an operator reads it in a placement failure.
#[must_use]
pub fn text(c: &Constraint) -> String {
    match c.operator {
        Operator::DistinctHosts => "distinct_hosts".into(),
        Operator::IsSet | Operator::IsNotSet => format!("{} {}", c.attribute, word(c.operator)),
        _ => format!("{} {} {}", c.attribute, word(c.operator), c.value),
    }
}

/// The operator as the job file spells it.
#[must_use]
pub const fn word(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "=",
        Operator::Ne => "!=",
        Operator::Lt => "<",
        Operator::Le => "<=",
        Operator::Gt => ">",
        Operator::Ge => ">=",
        Operator::Regexp => "regexp",
        Operator::Version => "version",
        Operator::Semver => "semver",
        Operator::SetContainsAll => "set_contains",
        Operator::SetContainsAny => "set_contains_any",
        Operator::IsSet => "is_set",
        Operator::IsNotSet => "is_not_set",
        Operator::DistinctHosts => "distinct_hosts",
        Operator::DistinctProperty => "distinct_property",
    }
}

/// A datacenter pattern: `*` stands for any run of characters, `?` for one.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut i, mut j) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while j < t.len() {
        if i < p.len() && p[i] == '*' {
            star = Some((i, j));
            i += 1;
        } else if i < p.len() && (p[i] == '?' || p[i] == t[j]) {
            i += 1;
            j += 1;
        } else if let Some((si, sj)) = star {
            // The star takes one character more.
            star = Some((si, sj + 1));
            i = si + 1;
            j = sj + 1;
        } else {
            return false;
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let mut n = Node { name: "n1".into(), datacenter: "dc1".into(), ..Node::default() };
        for (k, v) in [("kernel.name", "linux"), ("cpu.numcores", "12"), ("os.version", "22.04"), ("v", "1.10.3")] {
            n.attributes.insert(k.into(), v.into());
        }
        n.meta.insert("tags".into(), "ssd, gpu".into());
        n
    }

    #[test]
    fn operators() {
        use Operator as O;
        let table: &[(&str, Operator, &str, bool)] = &[
            ("${attr.kernel.name}", O::Eq, "linux", true),
            ("${attr.kernel.name}", O::Ne, "linux", false),
            ("${attr.nope}", O::Ne, "linux", true),
            ("${attr.nope}", O::Eq, "linux", false),
            ("${attr.nope}", O::Eq, "", false),
            ("${attr.cpu.numcores}", O::Gt, "9", true),
            ("${attr.cpu.numcores}", O::Le, "12", true),
            ("${attr.cpu.numcores}", O::Lt, "12.5", true),
            ("${attr.kernel.name}", O::Lt, "m", true),
            ("${attr.nope}", O::Ge, "0", false),
            ("${attr.kernel.name}", O::Regexp, "^lin", true),
            ("${attr.kernel.name}", O::Regexp, "(", false),
            ("${attr.v}", O::Version, ">= 1.2, < 2.0", true),
            ("${attr.v}", O::Version, ">= 1.11", false),
            ("${attr.v}", O::Semver, ">= 1.10.3", true),
            ("${meta.tags}", O::SetContainsAll, "gpu,ssd", true),
            ("${meta.tags}", O::SetContainsAll, "gpu,hdd", false),
            ("${meta.tags}", O::SetContainsAny, "gpu,hdd", true),
            ("${meta.tags}", O::IsSet, "", true),
            ("${meta.nope}", O::IsNotSet, "", true),
            ("${node.datacenter}", O::Eq, "dc1", true),
            ("${node.unique.name}", O::Eq, "n1", true),
            ("x-${node.datacenter}-y", O::Eq, "x-dc1-y", true),
            ("dc1", O::Eq, "${node.datacenter}", true),
        ];
        for (l, op, r, want) in table {
            assert_eq!(holds(l, *op, r, &node()), *want, "{l} {op:?} {r}");
        }
    }

    #[test]
    fn globs() {
        for (p, t, want) in [
            ("*", "dc1", true),
            ("dc*", "dc1", true),
            ("*-eu-*", "a-eu-1", true),
            ("dc?", "dc12", false),
            ("dc1", "dc1", true),
            ("dc1", "dc10", false),
            ("", "dc", false),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(glob(p, t), want, "{p} {t}");
        }
    }
}
