//! What a route makes of a path: `strip`, `prepend`, and the target of a redirect.

use std::borrow::Cow;

use http::uri::PathAndQuery;

use crate::tag::RouteSpec;

/// The path after `strip` and `prepend`; begins with `/`.
#[must_use]
pub fn path<'a>(path: &'a str, spec: &RouteSpec) -> Cow<'a, str> {
    let mut path = Cow::Borrowed(path);
    if let Some(rest) = spec.strip.as_deref().and_then(|s| path.strip_prefix(s)) {
        path = if rest.starts_with('/') { rest.to_owned().into() } else { format!("/{rest}").into() };
    }
    match &spec.prepend {
        Some(prefix) => format!("{prefix}{path}").into(),
        None => path,
    }
}

/// Path and query as the instance gets them; `None` where they stay as they are.
#[must_use]
pub fn target(given: &PathAndQuery, spec: &RouteSpec) -> Option<String> {
    match path(given.path(), spec) {
        Cow::Borrowed(_) => None,
        Cow::Owned(path) => Some(join(&path, given.query())),
    }
}

#[must_use]
pub fn join(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Where a redirect leads: `$path` is the path (after strip and prepend), `$host` the request's. The query is kept
/// where the path is, unless the target has its own.
#[must_use]
pub fn location(to: &str, host: &str, given: &PathAndQuery, spec: &RouteSpec) -> String {
    let with_host = to.replace("$host", host);
    if !with_host.contains("$path") {
        return with_host;
    }
    let path = path(given.path(), spec);
    let mut out = with_host.replace("/$path", "$path").replace("$path", &path);
    // Two slashes at the start would name a host.
    while out.starts_with("//") {
        out.remove(0);
    }
    if let Some(query) = given.query().filter(|_| !to.contains('?')) {
        out.push('?');
        out.push_str(query);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(options: &str) -> RouteSpec {
        crate::tag::parse(&format!("urlprefix-/a {options}"), "urlprefix-", "dc1").expect("a tag").expect("a route")
    }

    fn given(path: &str) -> PathAndQuery {
        format!("{path}?q=1").parse().expect("a path")
    }

    #[test]
    fn strip_and_prepend() {
        let t = |p: &str, o: &str| target(&given(p), &spec(o)).unwrap_or_else(|| given(p).to_string());
        assert_eq!(t("/a/b", "strip=/a"), "/b?q=1");
        assert_eq!(t("/a", "strip=/a"), "/?q=1");
        assert_eq!(t("/abc", "strip=/a"), "/bc?q=1");
        assert_eq!(t("/b/a", "strip=/a"), "/b/a?q=1");
        assert_eq!(t("/a/b", "prepend=/x"), "/x/a/b?q=1");
        assert_eq!(t("/a/b", "strip=/a prepend=x"), "/x/b?q=1");
        assert_eq!(target(&given("/a"), &spec("")), None);
    }

    #[test]
    fn redirects() {
        let l = |to: &str, p: &str| location(to, "foo.com", &given(p), &spec("strip=/a"));
        assert_eq!(l("https://www.x.com$path", "/a/b"), "https://www.x.com/b?q=1");
        assert_eq!(l("https://www.x.com/$path", "/a/b"), "https://www.x.com/b?q=1");
        assert_eq!(l("https://$host/fixed", "/a/b"), "https://foo.com/fixed");
        assert_eq!(l("https://x/$path?own=1", "/a/b"), "https://x/b?own=1");
        // An open redirect through a doubled slash.
        assert_eq!(l("$path", "/a//evil.com/x"), "/evil.com/x?q=1");
    }
}
