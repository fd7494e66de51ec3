//! Lookup: the order of hosts and paths, and agreement with the plain definition.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::{
    pick::Strategy as Pick,
    tag,
    target::{Endpoint, Key},
};

fn claim(n: u16, tag: &str, passing: bool) -> Claim {
    let spec = tag::parse(&format!("urlprefix-{tag}"), "urlprefix-", "dc1").expect("a tag").expect("a route");
    let endpoint = Endpoint::new("10.0.0.1", n);
    let authority = endpoint.authority().into();
    let key = Key { service: "web".into(), node: "n1".into(), instance: format!("i{n}").into(), authority };
    let target = Arc::new(Target::new(key, None, endpoint, 1, Arc::new(Notify::new())));
    Claim { choice: Choice { target, spec: Arc::new(spec), tags: Arc::new([]) }, passing }
}

fn table(tags: &[&str]) -> Table {
    let claims: Vec<_> = (1u16..).zip(tags).map(|(n, t)| claim(n, t, true)).collect();
    build(&claims)
}

fn build(claims: &[Claim]) -> Table {
    let mut table = Table::default();
    let place = |c: &Claim| (Arc::from(&*c.choice.spec.host), Arc::from(&*c.choice.spec.path));
    for one in claims {
        let place: Place = place(one);
        let here: Vec<&Claim> =
            claims.iter().filter(|c| c.choice.spec.host == *place.0 && c.choice.spec.path == *place.1).collect();
        let made = route(&place, &here, Pick::RoundRobin, Arc::new(Cursor::new(1)));
        table.set(&place, made.map(Arc::new));
    }
    table
}

fn found(table: &Table, host: &str, path: &str) -> Option<String> {
    table.find(host, path, |r| !r.choices.is_empty()).map(|r| format!("{}{}", r.host, r.path))
}

#[test]
fn hosts_before_patterns_before_any_and_longest_path_first() {
    let t = table(&[
        "/",
        "/foo",
        "foo.com/",
        "foo.com/bar",
        "*.foo.com/",
        "*.a.foo.com/x",
        "w*.foo.com/only",
        "foo.com:8080/",
    ]);
    let f = |h: &str, p: &str| found(&t, h, p).unwrap_or_default();
    assert_eq!(f("foo.com", "/bar/x"), "foo.com/bar");
    assert_eq!(f("foo.com", "/ba"), "foo.com/");
    assert_eq!(f("FOO.com:80", "/barista"), "foo.com/bar");
    assert_eq!(f("foo.com:9999", "/bar"), "foo.com/bar");
    assert_eq!(f("foo.com:8080", "/bar"), "foo.com:8080/");
    assert_eq!(f("foo.com.", "/bar"), "foo.com/bar");
    assert_eq!(f("x.a.foo.com", "/x"), "*.a.foo.com/x");
    assert_eq!(f("x.a.foo.com", "/y"), "*.foo.com/");
    assert_eq!(f("www.foo.com", "/only"), "*.foo.com/");
    // A longer path without a host never beats a host.
    assert_eq!(f("foo.com", "/foo"), "foo.com/");
    assert_eq!(f("other.com", "/foo/1"), "/foo");
    assert_eq!(f("[::1]:9999", "/"), "/");
    assert_eq!(f("", "/"), "/");
}

#[test]
fn a_route_without_a_healthy_instance_lets_the_next_match_win() {
    let t = build(&[claim(1, "/a/b", false), claim(2, "/a", true)]);
    assert_eq!(found(&t, "x", "/a/b").as_deref(), Some("/a"));
    assert_eq!(t.routes.len(), 2);
}

#[test]
fn an_instance_that_says_the_same_twice_counts_once() {
    let one = claim(1, "/a", true);
    let t = build(&[one.clone(), one, claim(2, "/a", true)]);
    assert_eq!(t.routes.values().next().expect("one").shares, [0.5, 0.5]);
}

proptest! {
    /// The links between sorted paths find what comparing every path would.
    #[test]
    fn the_longest_prefix_is_found(paths in proptest::collection::btree_set("/[ab/]{0,6}", 1..20), asked in "/[ab/]{0,8}") {
        let tags: Vec<&str> = paths.iter().map(String::as_str).collect();
        let t = table(&tags);
        let wanted = paths.iter().filter(|p| asked.starts_with(p.as_str())).max_by_key(|p| p.len());
        prop_assert_eq!(found(&t, "h", &asked), wanted.cloned());
    }

    /// `*.suffix` by hash agrees with matching each pattern.
    #[test]
    fn suffixes_agree_with_patterns(suffixes in proptest::collection::btree_set("(\\.[ab]{1,2}){1,3}", 1..8), host in "[ab]{0,2}(\\.[ab]{1,2}){0,4}") {
        let tags: Vec<String> = suffixes.iter().map(|s| format!("*{s}/")).collect();
        let t = table(&tags.iter().map(String::as_str).collect::<Vec<_>>());
        let wanted = suffixes.iter().filter(|s| pattern::Pattern::new(&format!("*{s}")).matches(&host)).max_by_key(|s| s.len());
        prop_assert_eq!(found(&t, &host, "/"), wanted.map(|s| format!("*{s}/")));
    }
}
