//! Tags: what is read, what is refused, and that nothing panics.

use proptest::prelude::*;

use super::*;

fn read(tag: &str) -> Result<RouteSpec, Reason> {
    parse(tag, "urlprefix-", "dc1").expect("has the prefix")
}

fn source(tag: &str) -> (String, String) {
    let spec = read(tag).expect("is a route");
    (spec.host, spec.path)
}

#[test]
fn other_tags_are_none_of_our_business() {
    assert_eq!(parse("v1", "urlprefix-", "dc1"), None);
    assert_eq!(parse("urlprefix", "urlprefix-", "dc1"), None);
}

#[test]
fn sources() {
    let s = |h: &str, p: &str| (h.to_owned(), p.to_owned());
    assert_eq!(source("urlprefix-/http-echo"), s("", "/http-echo"));
    assert_eq!(source("  urlprefix-Foo.COM/Bar "), s("foo.com", "/Bar"));
    assert_eq!(source("urlprefix-foo.com"), s("foo.com", "/"));
    assert_eq!(source("urlprefix-foo.com/"), s("foo.com", "/"));
    assert_eq!(source("urlprefix-foo.com:80/x"), s("foo.com", "/x"));
    assert_eq!(source("urlprefix-foo.com:8080/x"), s("foo.com:8080", "/x"));
    assert_eq!(source("urlprefix-*.foo.com/x"), s("*.foo.com", "/x"));
    assert_eq!(source("urlprefix-[::1]:90/x"), s("[::1]:90", "/x"));
    assert_eq!(source("urlprefix-$DC.foo.com/"), s("dc1.foo.com", "/"));
    assert_eq!(source("urlprefix-a${DC}b${NOPE}.foo.com/$DC"), s("adc1b.foo.com", "/$DC"));
}

#[test]
fn options() {
    let spec = read("urlprefix-/a strip=/a prepend=b  host=dst weight=0.25 proto=http strategy=rnd").expect("reads");
    assert_eq!(spec.strip.as_deref(), Some("/a"));
    assert_eq!(spec.prepend.as_deref(), Some("/b"));
    assert_eq!(spec.host_header, HostHeader::Instance);
    assert_eq!(spec.weight, Some(0.25));
    assert_eq!(spec.strategy, Some(crate::pick::Strategy::Random));
    assert_eq!(spec.options, "strip=/a prepend=b host=dst weight=0.25 proto=http strategy=rnd");
    assert!(spec.warnings.is_empty());
    let spec = read("urlprefix-/ redirect=301,https://www.foo.com$path host=x.com").expect("reads");
    assert_eq!(spec.redirect, Some(Redirect { status: 301, to: "https://www.foo.com$path".into() }));
    assert_eq!(spec.host_header, HostHeader::Fixed("x.com".into()));
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let spec = read("urlprefix-/a strip=a colour=red register=web").expect("still a route");
    assert_eq!(spec.strip, None);
    assert_eq!(spec.warnings.len(), 3, "{:?}", spec.warnings);
}

#[test]
fn what_cannot_be_a_route_says_why() {
    for (tag, words) in [
        ("urlprefix-", "no host or path"),
        ("urlprefix-:1234 proto=tcp", "TCP"),
        ("urlprefix-/a proto=https", "TLS"),
        ("urlprefix-/a proto=tcp", "not built"),
        ("urlprefix-/a proto=smtp", "proto is"),
        ("urlprefix-/a auth=me", "closed"),
        ("urlprefix-/a allow=ip:10.0.0.0/8", "closed"),
        ("urlprefix-/a weight=NaN", "weight"),
        ("urlprefix-/a weight=inf", "weight"),
        ("urlprefix-/a weight=-1", "weight"),
        ("urlprefix-/a redirect=200,http://x/", "300 to 399"),
        ("urlprefix-/a redirect=301", "redirect=<status>"),
        ("urlprefix-/a redirect=301,javascript:x", "must begin"),
        ("urlprefix-/a host=", "host="),
        ("urlprefix-/a host=a\"b", "not a host"),
        ("urlprefix-/a strategy=best", "strategy"),
        ("urlprefix-a{b,c}/", "only * and ?"),
        ("urlprefix-a\"b/", "not a host"),
        ("urlprefix-a:x/", "not a host"),
        ("urlprefix-/a?b", "path"),
        ("urlprefix-/ä", "path"),
    ] {
        let reason = read(tag).expect_err(tag);
        assert!(reason.contains(words), "{tag}: {reason}");
    }
    let long = format!("urlprefix-/{}", "a".repeat(MAX_TAG));
    assert!(read(&long).expect_err("too long").contains("bytes"));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,200}") {
        if let Ok(spec) = read(&format!("urlprefix-{text}")) {
            prop_assert!(spec.path.starts_with('/'));
            prop_assert!(spec.weight.is_none_or(|w| w.is_finite() && w >= 0.0));
            prop_assert_eq!(spec.host.to_ascii_lowercase(), spec.host.clone());
        }
    }

    #[test]
    fn options_never_change_the_source(path in "/[a-z0-9/._-]{0,20}", words in "[a-z=/,:. ]{0,60}") {
        if let Ok(spec) = read(&format!("urlprefix-{path} {words}")) {
            prop_assert_eq!(spec.path, path);
        }
    }
}
