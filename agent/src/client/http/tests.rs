//! The routes, asked as a client asks them.

use axum::{body::Body, http::Request};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use model::{AllocId, ClientStatus};
use tower::ServiceExt;

use super::router;
use crate::client::tests::{World, job, sh};

async fn ask(w: &World, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).expect("a request");
    let response = router(w.client.clone()).oneshot(request).await.expect("answers");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("reads").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn get(w: &World, path: String) -> (u16, String) {
    ask(w, "GET", &path, "").await
}

async fn running(script: &str, n: u128) -> (World, AllocId) {
    let w = World::new().await;
    let id = w.place(job("j", vec![sh(script)]), n);
    w.until("running", id, |a| a.client == ClientStatus::Running).await;
    (w, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_logs() {
    let (w, id) = running("echo one; echo two; echo data > $NOMAD_ALLOC_DIR/data/f; exec sleep 300", 21).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while w.log(id, "t.stdout.0") != "one\ntwo\n" {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let logs = |rest: &str| format!("/v1/client/fs/logs/{id}?task=t&{rest}");
    assert_eq!(get(&w, logs("type=stdout&plain=true")).await, (200, "one\ntwo\n".into()));
    assert_eq!(get(&w, logs("type=stdout&plain=true&origin=end&offset=4")).await.1, "two\n");
    let (_, framed) = get(&w, logs("type=stdout")).await;
    let frame: serde_json::Value = serde_json::from_str(&framed).expect("one frame");
    assert_eq!(STANDARD.decode(frame["Data"].as_str().expect("data")).expect("base64"), b"one\ntwo\n");
    assert_eq!(frame["File"], "alloc/logs/t.stdout.0");
    assert_eq!(get(&w, logs("type=sideways")).await.0, 400);
    assert_eq!(get(&w, format!("/v1/client/fs/logs/{id}?task=x&type=stdout")).await.0, 404);

    let fs = |op: &str, rest: &str| format!("/v1/client/fs/{op}/{id}?{rest}");
    let list: serde_json::Value = serde_json::from_str(&get(&w, fs("ls", "path=/")).await.1).expect("JSON");
    assert_eq!(list[0]["Name"], "alloc");
    assert_eq!(list[0]["IsDir"], true);
    assert_eq!(get(&w, fs("cat", "path=alloc/data/f")).await, (200, "data\n".into()));
    assert_eq!(get(&w, fs("readat", "path=alloc/data/f&offset=1&limit=2")).await, (200, "at".into()));
    assert_eq!(get(&w, fs("stream", "path=alloc/data/f&follow=false&plain=true")).await.1, "data\n");
    assert_eq!(get(&w, fs("stream", "path=nope&follow=false")).await.0, 400);
    assert_eq!(get(&w, fs("stat", "path=nope")).await.0, 404);
    for path in ["../../client/node_id", "/../../client/node_id", "t/secrets/x/../../../../client/node_id"] {
        let (status, text) = get(&w, fs("cat", &format!("path={path}"))).await;
        assert!(status == 400 && text.contains("escapes"), "{path}: {status} {text}");
    }
    assert_eq!(get(&w, format!("/v1/client/fs/ls/{}", uuid::Uuid::nil())).await.0, 404);
    assert_eq!(get(&w, "/v1/client/fs/ls/nonsense".into()).await.0, 404);
    w.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_signals_and_restarts() {
    let script = "trap 'echo usr1' USR1; trap 'exit 0' INT; while :; do sleep 0.05; done";
    let (w, id) = running(script, 22).await;
    let of = |what: &str| format!("/v1/client/allocation/{id}/{what}");
    let (status, text) = get(&w, of("stats")).await;
    let stats: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status, 200);
    assert!(stats["Tasks"]["t"]["ResourceUsage"]["MemoryStats"]["RSS"].as_u64().is_some_and(|n| n > 0), "{text}");
    let (status, text) = ask(&w, "PUT", &of("signal"), r#"{"Signal":"SIGNOPE","Task":"t"}"#).await;
    assert!(status == 400 && text.contains("invalid signal"), "{status} {text}");
    assert_eq!(ask(&w, "POST", &of("signal"), r#"{"Signal":"SIGUSR1"}"#).await.0, 200);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !w.log(id, "t.stdout.0").contains("usr1") {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(ask(&w, "PUT", &of("restart"), r#"{"TaskName":"x"}"#).await.0, 404);
    assert_eq!(ask(&w, "PUT", &of("restart"), "not json").await.0, 400);
    assert_eq!(ask(&w, "PUT", &of("restart"), r#"{"TaskName":"t"}"#).await.0, 200);
    w.until("restarted", id, |a| a.tasks["t"].restarts == 1).await;
    assert_eq!(get(&w, of("gc")).await.0, 400);
    assert_eq!(get(&w, of("checks")).await, (200, "{}".into()));
    assert_eq!(get(&w, of("exec")).await.0, 501);
    assert_eq!(get(&w, "/v1/client/stats".into()).await.0, 200);
    w.stop(id);
    w.until("complete", id, |a| a.client.terminal()).await;
    w.end().await;
}
