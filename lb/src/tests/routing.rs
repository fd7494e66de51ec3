//! Routes follow the catalog, and options do what they say.

use model::{
    Command, Timestamp,
    check::Verdict,
    kv::{KvGuard, KvOp},
};

use super::{
    Rig,
    catalog::{deregister, passing, register, verdict},
    instance::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_follow_the_catalog() {
    let (rig, a, b) = (Rig::new().await, Server::new("a").await, Server::new("b").await);
    assert_eq!(rig.get("x", "/echo").await.status, 404);
    rig.apply(register("echo", "a", a.addr, &["urlprefix-/echo"], Verdict::Critical));
    rig.apply(passing("other", "b", b.addr, &["no route"]));
    super::eventually(|| rig.handle.routes().is_empty()).await;
    rig.apply(verdict("a", Verdict::Passing));
    rig.routed(1).await;
    let reply = rig.get("x", "/echo/deep?q=1").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.starts_with("a\nGET /echo/deep?q=1\n"), "{}", reply.body);
    rig.apply(verdict("a", Verdict::Warning));
    rig.routed(0).await;
    // The route is known, its service is down: not the same as no route.
    let down = rig.get("x", "/echo").await;
    assert_eq!(down.status, 503);
    assert!(down.body.contains("service echo"), "{}", down.body);
    rig.apply(deregister("a"));
    super::eventually(|| rig.handle.view.status().routes.is_empty()).await;
    assert_eq!(rig.get("x", "/echo").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_shape_the_request() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    let tags = [
        "urlprefix-/strip strip=/strip",
        "urlprefix-/both strip=/both prepend=/new",
        "urlprefix-/dst host=dst",
        "urlprefix-/fixed host=inner.example",
        "urlprefix-/go redirect=302,https://$host/x$path",
        "urlprefix-host.example/h",
        "urlprefix-*.wild.example/",
    ];
    rig.apply(passing("web", "a", a.addr, &tags));
    rig.routed(tags.len()).await;
    let strip = rig.get("x", "/strip/a%2Fb?q").await.body;
    assert!(strip.contains("GET /a%2Fb?q\n") && strip.contains("x-forwarded-prefix: /strip\n"), "{strip}");
    assert!(strip.contains("host: x\n") && strip.contains("x-forwarded-for: 127.0.0.1\n"), "{strip}");
    assert!(rig.get("x", "/both/1").await.body.contains("GET /new/1\n"));
    assert!(rig.get("x", "/dst").await.body.contains(&format!("host: {}\n", a.addr)));
    let fixed = rig.get("x:81", "/fixed").await.body;
    assert!(fixed.contains("host: inner.example\n") && fixed.contains("x-forwarded-host: x:81\n"), "{fixed}");
    let go = rig.get("x", "/go/1?q=2").await;
    assert_eq!(go.status, 302);
    assert!(go.head.contains("location: https://x/x/go/1?q=2"), "{}", go.head);
    assert_eq!(rig.get("HOST.example:9999", "/h").await.status, 200);
    assert_eq!(rig.get("other.example", "/h").await.status, 404);
    assert_eq!(rig.get("a.b.wild.example", "/any").await.status, 200);
    assert_eq!(rig.get("wild.example", "/any").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_tag_disables_only_itself() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    rig.apply(passing(
        "web",
        "a",
        a.addr,
        &["urlprefix-/ok", "urlprefix-/tcp proto=tcp", "urlprefix-", "urlprefix-/w weight=x"],
    ));
    rig.routed(1).await;
    assert_eq!(rig.get("x", "/ok").await.status, 200);
    let problems = rig.admin("/api/problems").await.body;
    for words in ["proto=tcp is not built", "no host or path", "weight=x"] {
        assert!(problems.contains(words), "{problems}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_and_round_robin_spread_the_requests() {
    let (rig, a, b) = (Rig::new().await, Server::new("a").await, Server::new("b").await);
    rig.apply(passing("web", "a", a.addr, &["urlprefix-/w weight=0.2", "urlprefix-/rr"]));
    rig.apply(passing("web", "b", b.addr, &["urlprefix-/w", "urlprefix-/rr"]));
    rig.routed(4).await;
    for _ in 0..100 {
        assert_eq!(rig.get("x", "/w").await.status, 200);
    }
    assert!((14..=26).contains(&a.hits()), "{} of 100", a.hits());
    let (before_a, before_b) = (a.hits(), b.hits());
    for _ in 0..40 {
        assert_eq!(rig.get("x", "/rr").await.status, 200);
    }
    let (a, b) = (a.hits() - before_a, b.hits() - before_b);
    assert!(a.abs_diff(b) <= 2, "{a} and {b}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_page_is_shown_where_nothing_is_routed() {
    let rig = Rig::new().await;
    let put = |value: &str| Command::Kv {
        ops: vec![KvOp::Put {
            key: "fabio/noroute.html".into(),
            value: bytes::Bytes::copy_from_slice(value.as_bytes()),
            flags: 0,
            guard: KvGuard::None,
        }],
        at: Timestamp(1),
    };
    rig.apply(put("<h1>ours</h1>"));
    let table = std::sync::Arc::clone(&rig.handle.view.table);
    super::eventually(|| table.load().no_route_page.is_some()).await;
    let reply = rig.get("x", "/").await;
    assert_eq!((reply.status, reply.body.as_str()), (404, "<h1>ours</h1>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_has_fabios_shape() {
    let (rig, a) = (Rig::new().await, Server::new("a").await);
    assert_eq!(rig.admin("/api/routes").await.body, "[]");
    rig.apply(passing("web", "a", a.addr, &["urlprefix-foo.com/p strip=/p", "v1"]));
    rig.routed(1).await;
    let routes: serde_json::Value = serde_json::from_str(&rig.admin("/api/routes").await.body).expect("JSON");
    let route = &routes[0];
    for (key, value) in [
        ("service", "web"),
        ("host", "foo.com"),
        ("path", "/p"),
        ("src", "foo.com/p"),
        ("opts", "strip=/p"),
        ("cmd", "route add"),
    ] {
        assert_eq!(route[key], value);
    }
    assert_eq!(route["dst"], format!("http://{}/", a.addr));
    assert_eq!(route["tags"][0], "v1");
    assert_eq!(route["weight"], 1.0);
    let raw = rig.admin("/api/routes?raw").await.body;
    assert!(raw.starts_with("route add web foo.com/p http://127.0.0.1:"), "{raw}");
    assert_eq!(rig.admin("/health").await.body, "OK\n");
    assert_eq!(rig.admin("/").await.status, 303);
    assert!(rig.admin("/routes").await.head.contains("text/html"));
    assert!(rig.admin("/metrics").await.body.contains("trine_lb_instance_requests_total{service=\"web\""));
    assert_eq!(rig.admin("/api/manual").await.status, 501);
    assert_eq!(rig.admin("/nope").await.status, 404);
    let config: serde_json::Value = serde_json::from_str(&rig.admin("/api/config").await.body).expect("JSON");
    assert_eq!(config["tag_prefix"], "urlprefix-");
    rig.cancel.cancel();
    super::eventually(|| rig.handle.ended.is_finished()).await;
}
