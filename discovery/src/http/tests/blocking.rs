//! Who is woken, and who is not.

use super::*;

/// Start a call, wait until it sleeps, then do `change`; the call's answer.
async fn woken_by(b: &Bench, path: &str, change: impl Future<Output = Reply>) -> Reply {
    let (reply, _) = tokio::join!(b.get(path), async {
        while b.replica.waiters().is_empty() {
            tokio::task::yield_now().await;
        }
        change.await
    });
    reply
}

#[tokio::test]
async fn a_change_wakes_those_who_wait_for_it() {
    let b = Bench::agent();
    b.put("/v1/agent/service/register", json!({"Name": "web", "Port": 1})).await;
    for (path, body) in [
        ("/v1/health/service/web", json!({"Name": "web", "Port": 2})),
        ("/v1/catalog/service/web", json!({"Name": "web", "Port": 3})),
        ("/v1/catalog/services", json!({"Name": "other"})),
        ("/v1/catalog/node/n1", json!({"Name": "web", "Port": 4})),
        ("/v1/health/state/any", json!({"Name": "web", "Check": {"TTL": "1m"}})),
        ("/v1/health/service/later", json!({"Name": "later"})),
    ] {
        let before = b.get(path).await;
        let path = format!("{path}?index={}&wait=20s", before.index());
        let after = woken_by(&b, &path, b.put("/v1/agent/service/register", body)).await;
        assert!(after.index() > before.index(), "{path}");
        assert_ne!(after.body, before.body, "{path}");
    }
}

#[tokio::test]
async fn other_services_wake_nobody() {
    let b = Bench::agent();
    b.put("/v1/agent/service/register", json!({"Name": "web", "Port": 1})).await;
    b.put("/v1/agent/service/register", json!({"Name": "db", "Port": 1})).await;
    let index = b.get("/v1/health/service/web").await.index();
    let path = format!("/v1/health/service/web?index={index}&wait=300ms");
    let started = std::time::Instant::now();
    let reply = woken_by(&b, &path, async {
        b.put("/v1/kv/a", json!(1)).await;
        b.put("/v1/agent/service/register", json!({"Name": "db", "Port": 2})).await
    })
    .await;
    assert!(started.elapsed() >= Duration::from_millis(300), "it slept on");
    assert_eq!(reply.index(), index);
    assert!(b.replica.waiters().is_empty(), "and left nothing behind");
}

#[tokio::test]
async fn the_last_instance_leaving_wakes_with_an_empty_list() {
    let b = Bench::agent();
    b.put("/v1/agent/service/register", json!({"Name": "web"})).await;
    let index = b.get("/v1/health/service/web").await.index();
    let path = format!("/v1/health/service/web?index={index}&wait=20s");
    let reply = woken_by(&b, &path, b.put("/v1/agent/service/deregister/web", Value::Null)).await;
    assert_eq!(reply.body, "[]");
    assert!(reply.index() > index);
}

#[tokio::test]
async fn a_caller_who_hangs_up_frees_the_wait() {
    let b = Bench::agent();
    let request = Request::get("/v1/catalog/services?index=99&wait=10m").body(Body::empty()).expect("a request");
    let call = b.router.clone().oneshot(request);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert!(b.replica.waiters().is_empty());
}

#[tokio::test]
async fn wait_without_index_does_not_wait() {
    let b = Bench::agent();
    let started = std::time::Instant::now();
    b.get("/v1/catalog/services?wait=15s").await;
    b.get("/v1/catalog/services?index=0&wait=15s").await;
    assert!(started.elapsed() < Duration::from_secs(10));
}
