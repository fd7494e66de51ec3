//! Header rules.

use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    headers
}

fn peer(trusted: bool) -> Peer {
    Peer::new([192, 0, 2, 7].into(), [192, 0, 2, 1].into(), trusted)
}

#[test]
fn a_clients_word_about_itself_is_replaced() {
    let mut h = map(&[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-real-ip", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=1.2.3.4"),
    ]);
    peer(false).vouch(&mut h, &HeaderValue::from_static("foo.com:9999"));
    let all: Vec<_> = h.get_all(&X_FORWARDED_FOR).iter().collect();
    assert_eq!(all, ["192.0.2.7"]);
    assert_eq!(h[&X_REAL_IP], "192.0.2.7");
    assert_eq!(h[&X_FORWARDED_PROTO], "http");
    assert_eq!(h[&X_FORWARDED_HOST], "foo.com:9999");
    assert_eq!(h[&X_FORWARDED_PORT], "9999");
    assert_eq!(h[FORWARDED], "for=192.0.2.7;proto=http;by=192.0.2.1");
    assert!(!h.contains_key(&X_FORWARDED_PREFIX));
}

#[test]
fn a_trusted_proxys_word_is_kept_and_added_to() {
    let mut h = map(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-real-ip", "1.2.3.4")]);
    peer(true).vouch(&mut h, &HeaderValue::from_static("foo.com"));
    assert_eq!(h[&X_FORWARDED_FOR], "1.2.3.4, 192.0.2.7");
    assert_eq!(h[&X_FORWARDED_PROTO], "https");
    assert_eq!(h[&X_REAL_IP], "1.2.3.4");
    assert_eq!(h[&X_FORWARDED_PORT], "80");
}

#[test]
fn connection_fields_go_and_protected_ones_cannot_be_named() {
    let mut h = map(&[
        ("connection", "X-Secret, Host, x-forwarded-for, AUTHORIZATION, content-length"),
        ("x-secret", "1"),
        ("host", "a"),
        ("x-forwarded-for", "1"),
        ("authorization", "x"),
        ("content-length", "5"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip, trailers"),
        ("upgrade", "h2c"),
    ]);
    strip_hop_by_hop(&mut h);
    let mut left: Vec<_> = h.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["authorization", "content-length", "host", "te", "x-forwarded-for"]);
    assert_eq!(h[TE], "trailers");
}

#[test]
fn underscore_twins_are_dropped() {
    let mut h = map(&[("x_forwarded_for", "1"), ("content_length", "5"), ("my_header", "kept")]);
    strip_twins(&mut h);
    assert_eq!(h.len(), 1);
}

#[test]
fn websocket_handshakes_are_known() {
    assert!(wants_websocket(&map(&[("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")])));
    assert!(!wants_websocket(&map(&[("upgrade", "h2c"), ("connection", "Upgrade")])));
    assert!(!wants_websocket(&map(&[("upgrade", "websocket")])));
}

#[test]
fn hosts() {
    for ok in ["a", "a.b:80", "[::1]:9999", "a:", "xn--a.com"] {
        assert!(host_of(&map(&[("host", ok)])).is_ok(), "{ok}");
    }
    for bad in ["a,b", "u@a", "a:99999", "a:x", "a/b", "a b", "a#b"] {
        assert!(host_of(&map(&[("host", bad)])).is_err(), "{bad}");
    }
    assert!(host_of(&map(&[])).is_err());
    assert!(host_of(&map(&[("host", "a"), ("host", "a")])).is_err());
}

#[test]
fn hops_count_up_and_nonsense_is_the_limit() {
    assert_eq!(hops(&map(&[])), 0);
    assert_eq!(hops(&map(&[("x-trine-hops", "3")])), 3);
    assert_eq!(hops(&map(&[("x-trine-hops", "-1")])), MAX_HOPS);
}
