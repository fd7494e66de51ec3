//! What every route has in common, and every way to be refused.

use serde_json::json;

use super::{NODE, Rig};

#[tokio::test]
async fn refusals_have_nomads_codes_and_texts() {
    let rig = Rig::prepared();
    let zero = "00000000-0000-0000-0000-000000000000";
    for (method, path, body, status, text) in [
        ("GET", "/nothing", "", 404, ""),
        ("GET", "/v1/nothing", "", 404, ""),
        ("DELETE", "/v1/jobs", "", 405, "Invalid method"),
        ("PATCH", "/v1/job/web", "", 405, "Invalid method"),
        ("PUT", "/v1/nodes", "", 405, "Invalid method"),
        ("GET", "/v1/system/gc", "", 405, "Invalid method"),
        ("GET", "/v1/job/nope", "", 404, "job not found"),
        ("GET", "/v1/job/nope/summary", "", 404, "job not found"),
        ("GET", "/v1/job/nope/scale", "", 404, "job not found"),
        ("GET", "/v1/job/nope/versions", "", 404, "job versions not found"),
        ("GET", "/v1/job/web/submission?version=0", "", 404, "job submission not found"),
        ("DELETE", "/v1/job/nope", "", 404, "job not found"),
        ("GET", "/v1/allocation/nope", "", 404, "alloc not found"),
        ("GET", &format!("/v1/allocation/{zero}"), "", 404, "alloc not found"),
        ("GET", &format!("/v1/evaluation/{zero}"), "", 404, "eval not found"),
        ("GET", &format!("/v1/deployment/{zero}"), "", 404, "deployment not found"),
        ("GET", &format!("/v1/node/{zero}"), "", 404, "node not found"),
        ("GET", "/v1/namespace/other", "", 404, "namespace not found"),
        ("GET", "/v1/jobs?region=mars", "", 500, "No path to region"),
        ("GET", "/v1/jobs?stale=maybe", "", 400, "Failed to parse value of \"stale\""),
        ("GET", "/v1/jobs?index=x", "", 400, "Invalid index"),
        ("GET", "/v1/jobs?index=1&wait=soon", "", 400, "Invalid wait time"),
        ("GET", "/v1/jobs?per_page=many", "", 400, "per_page must be a number"),
        ("GET", "/v1/jobs?next_token=x", "", 400, "next_token"),
        ("GET", "/v1/jobs?filter=Name+==", "", 400, "failed to read filter expression"),
        ("GET", "/v1/jobs?filter=Nmae+==+x", "", 400, "there is no field \"Nmae\""),
        ("GET", "/v1/evaluations?job=web&filter=ID+==+x", "", 400, "Filter expression cannot be used with other"),
        ("GET", "/v1/jobs?prefix=%ff", "", 400, "not UTF-8"),
        ("PUT", "/v1/jobs", "", 400, "needs a JSON body"),
        ("PUT", "/v1/jobs", "{", 400, "not the JSON that is wanted"),
        ("PUT", "/v1/jobs", "{}", 400, "Job must be specified"),
        ("PUT", "/v1/validate/job", "{}", 400, "Job must be specified"),
        ("PUT", "/v1/jobs/parse", "{\"JobHCL\":\"\"}", 400, "Job spec is empty"),
        ("PUT", "/v1/job/web/scale", "{}", 400, "missing task group name for scaling action"),
        ("PUT", "/v1/job/web/scale", r#"{"Target":{"Group":"x"},"Count":1}"#, 400, "does not exist in job"),
        ("PUT", "/v1/job/web/scale", r#"{"Target":{"Group":"g"},"Count":-1}"#, 400, "can't be negative"),
        ("PUT", "/v1/job/web/scale", r#"{"Target":{"Group":"g"},"Count":2}"#, 400, "blocked due to active deployment"),
        ("PUT", "/v1/job/web/revert", r#"{"JobID":"x","JobVersion":0}"#, 400, "Job ID does not match"),
        ("PUT", "/v1/job/web/revert", r#"{"JobID":"web","JobVersion":0}"#, 500, "can't revert to current version"),
        ("PUT", "/v1/job/web/revert", r#"{"JobID":"web","JobVersion":7}"#, 404, "at version 7 not found"),
        ("PUT", "/v1/job/web/dispatch", "{}", 501, "not built in Trine yet"),
        ("PUT", &format!("/v1/node/{NODE}/eligibility"), r#"{"Eligibility":"perhaps"}"#, 400, "want eligible or"),
        ("PUT", &format!("/v1/node/{NODE}/drain"), "", 400, "needs a JSON body"),
        ("PUT", &format!("/v1/node/{NODE}/drain"), r#"{"DrainSpec":{"Deadline":"soon"}}"#, 400, "such as \"1h\""),
        ("PUT", &format!("/v1/node/{NODE}/drain"), r#"{"DrainSpec":5}"#, 400, "invalid type"),
        ("GET", "/v1/vars", "", 501, "the variable store (/v1/vars) is not built in Trine yet"),
        ("PUT", "/v1/acl/bootstrap", "", 501, "access control"),
        ("GET", "/v1/volumes?type=csi", "", 501, "volume registration"),
        ("GET", "/v1/client/stats", "", 501, "without the client role"),
        ("GET", "/v1/operator/license", "", 501, "/v1/operator/license"),
        ("PUT", "/v1/namespace", "{}", 501, "namespaces other than"),
        ("PUT", "/v1/search", r#"{"Prefix":"","Context":"cats"}"#, 400, "context must be one of"),
        ("PUT", "/v1/search/fuzzy", r#"{"Text":"w","Context":"all"}"#, 400, "at least 2 characters, got 1"),
        ("GET", "/v1/event/stream?topic=Cat", "", 400, "invalid topic"),
        ("GET", "/v1/agent/health?type=cat", "", 400, "type must be client or server"),
        ("PUT", "/v1/agent/reload", "", 500, "no configuration file"),
        ("GET", "/v1/service/x?choose=2", "", 400, "choose must be"),
    ] {
        let got = rig.send(method, path, body.to_owned()).await;
        assert_eq!(got.status.as_u16(), status, "{method} {path}: {}", got.text);
        assert!(got.text.contains(text), "{method} {path}: {}", got.text);
        assert!(!got.text.starts_with('{'), "errors are bare text: {}", got.text);
        assert_eq!(got.header("content-type"), "text/plain; charset=utf-8", "{method} {path}");
    }
}

#[tokio::test]
async fn the_root_leads_to_the_page() {
    let rig = Rig::prepared();
    let got = rig.get("/?a=b").await;
    assert_eq!((got.status.as_u16(), got.header("location")), (307, "/ui/?a=b"));
}

#[tokio::test]
async fn reads_carry_the_headers_clients_fail_without() {
    let rig = Rig::prepared();
    for path in [
        "/v1/jobs",
        "/v1/job/web",
        "/v1/nodes",
        "/v1/allocations",
        "/v1/evaluations",
        "/v1/evaluations/count",
        "/v1/deployments",
        "/v1/services",
        "/v1/service/web-svc",
        "/v1/service/unknown",
        "/v1/namespaces",
        "/v1/node/pools",
        "/v1/operator/scheduler/configuration",
        "/v1/job/unknown/allocations",
        "/v1/job/unknown/deployment",
    ] {
        let got = rig.get(path).await;
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        assert!(got.header("x-nomad-index").parse::<u64>().is_ok_and(|n| n > 0), "{path}");
        assert_eq!(got.header("x-nomad-lastcontact"), "0", "{path}");
        assert_eq!(got.header("x-nomad-knownleader"), "true", "{path}");
        assert_eq!(got.header("content-type"), "application/json", "{path}");
    }
}

#[tokio::test]
async fn pretty_indents_and_ends_with_a_newline() {
    let rig = Rig::prepared();
    assert_eq!(rig.get("/v1/regions").await.text, "[\"global\"]");
    assert_eq!(rig.get("/v1/regions?pretty").await.text, "[\n    \"global\"\n]\n");
    assert_eq!(rig.get("/v1/regions?pretty=0").await.text, "[\"global\"]");
}

#[tokio::test]
async fn a_body_without_end_is_refused_before_it_is_read() {
    let rig = Rig::prepared();
    let got = rig.send("PUT", "/v1/jobs", vec![b' '; 17 << 20]).await;
    assert_eq!(got.status, 413, "{}", got.text);
}

#[tokio::test]
async fn post_is_put() {
    let rig = Rig::prepared();
    let body = json!({ "Prefix": "we", "Context": "jobs" }).to_string();
    assert_eq!(rig.send("POST", "/v1/search", body).await.json()["Matches"]["jobs"], json!(["web"]));
}

#[tokio::test]
async fn pages_of_other_sites_cannot_write() {
    let rig = Rig::prepared();
    for (method, origin, status) in [
        ("PUT", "https://example.com", 403),
        ("DELETE", "null", 403),
        ("PUT", "http://127.0.0.1:9999", 403),
        ("PUT", "http://127.0.0.1:4646", 200),
        ("GET", "https://example.com", 405),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri("/v1/system/gc")
            .header("host", "127.0.0.1:4646")
            .header("origin", origin)
            .body(axum::body::Body::empty());
        assert_eq!(rig.request(request.expect("a request")).await.status.as_u16(), status, "{method} from {origin}");
    }
}
