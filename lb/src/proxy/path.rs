//! One spelling of a request path: what is matched is what is forwarded.
//!
//! Dot segments are resolved; spellings that servers read differently (`%2e%2e`, `\`, `%00`) are refused, so that no
//! route is reached by a path that looks like another's. Everything else, `%2F` included, stays byte for byte.

use std::borrow::Cow;

/// The path to match and forward, or why it is refused.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if !path.starts_with('/') {
        return Err("the path must begin with /");
    }
    let bytes = path.as_bytes();
    let mut dots = false;
    for (at, b) in bytes.iter().enumerate() {
        match b {
            b'\\' => return Err("the path holds a backslash"),
            b'%' => escape(bytes.get(at + 1..at + 3))?,
            b'.' if bytes[at - 1] == b'/' => dots = true,
            _ => {}
        }
    }
    if path.contains('%') && path.split('/').any(is_hidden_dots) {
        return Err("the path holds an encoded dot segment");
    }
    Ok(if dots { resolve(path) } else { Cow::Borrowed(path) })
}

fn escape(digits: Option<&[u8]>) -> Result<(), &'static str> {
    match digits {
        Some(d) if d.iter().all(u8::is_ascii_hexdigit) => match d {
            b"00" => Err("the path holds an encoded NUL"),
            [b'5', b'c' | b'C'] => Err("the path holds an encoded backslash"),
            _ => Ok(()),
        },
        _ => Err("the path holds a % without two hexadecimal digits"),
    }
}

/// `.` or `..` with at least one dot written as `%2e`.
fn is_hidden_dots(segment: &str) -> bool {
    if !segment.contains('%') {
        return false;
    }
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// Without `.` and `..` segments; never above the root.
fn resolve(path: &str) -> Cow<'_, str> {
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    let mut changed = false;
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                changed = true;
                if segment == ".." {
                    out.pop();
                }
                // `/a/..` names a directory, as `/a/../` does.
                if last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    if changed { Cow::Owned(format!("/{}", out.join("/"))) } else { Cow::Borrowed(path) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_stay_as_they_are() {
        for p in ["/", "/a/b", "/a%2Fb", "/a//b/", "/a.b/.well-known/x", "/...", "/a%20b", "/a/..."] {
            assert!(matches!(canonical(p), Ok(Cow::Borrowed(q)) if q == p), "{p}");
        }
    }

    #[test]
    fn dot_segments_are_resolved() {
        for (given, wanted) in [
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/../../etc", "/etc"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
            ("/a/b/../../c/.", "/c/"),
        ] {
            assert_eq!(canonical(given).as_deref(), Ok(wanted), "{given}");
        }
    }

    #[test]
    fn ambiguous_spellings_are_refused() {
        for p in ["/a/%2e%2e/b", "/%2E./x", "/a\\b", "/a%5Cb", "/a%00", "/a%2", "/a%zz", "a", "/%2e"] {
            assert!(canonical(p).is_err(), "{p}");
        }
    }

    proptest! {
        #[test]
        fn the_result_is_its_own_canonical_form(path in "/[a-c./%2eE]{0,24}") {
            if let Ok(once) = canonical(&path) {
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.split('/').any(|s| s == "." || s == ".."));
                let twice = canonical(&once).map(Cow::into_owned);
                prop_assert_eq!(twice, Ok(once.to_string()));
            }
        }
    }
}
