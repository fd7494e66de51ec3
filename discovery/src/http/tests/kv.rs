//! Keys, locks, sessions and transactions.

use super::*;

async fn raw_put(b: &Bench, path: &str, body: &str) -> String {
    let reply = b.call("PUT", path, body.to_owned()).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
    reply.body
}

#[tokio::test]
async fn keys_are_kept_as_they_are() {
    let b = Bench::agent();
    for (path, key) in [
        ("a", "a"),
        ("a//b/", "a//b/"),
        ("a%2Fc", "a/c"),
        ("with%20space", "with space"),
        ("../../acl", "../../acl"),
        ("semi;colon", "semi;colon"),
        ("tf/state-env:dev", "tf/state-env:dev"),
        ("%25", "%"),
    ] {
        assert_eq!(raw_put(&b, &format!("/v1/kv/{path}?flags=42"), "hello").await, "true");
        let row = b.get(&format!("/v1/kv/{path}")).await.json()[0].clone();
        assert_eq!((&row["Key"], &row["Value"], &row["Flags"]), (&json!(key), &json!("aGVsbG8="), &json!(42)));
        assert!(row.get("Session").is_none() && row["LockIndex"] == 0);
    }
    let raw = b.get("/v1/kv/a?raw").await;
    assert_eq!((raw.body.as_str(), raw.header("content-type")), ("hello", "text/plain"));
    assert_eq!(raw.header("x-content-type-options"), "nosniff");
    assert_eq!(raw.header("content-security-policy"), "sandbox");
    raw_put(&b, "/v1/kv/empty", "").await;
    assert_eq!(b.get("/v1/kv/empty").await.json()[0]["Value"], Value::Null);
}

#[tokio::test]
async fn lists_trees_and_what_is_not_there() {
    let b = Bench::agent();
    for key in ["app/a", "app/b/1", "app/b/2", "other"] {
        raw_put(&b, &format!("/v1/kv/{key}"), "x").await;
    }
    assert_eq!(b.get("/v1/kv/app/?keys").await.json(), json!(["app/a", "app/b/1", "app/b/2"]));
    assert_eq!(b.get("/v1/kv/app/?keys=&separator=%2F").await.json(), json!(["app/a", "app/b/"]));
    assert_eq!(b.get("/v1/kv/?keys&seperator=/").await.json(), json!(["app/", "other"]));
    assert_eq!(ids(&b.get("/v1/kv/app/?recurse").await.json(), &["Key"]).len(), 3);
    assert_eq!(ids(&b.get("/v1/kv/?recurse").await.json(), &["Key"]).len(), 4);
    for missing in ["/v1/kv/none", "/v1/kv/none?recurse", "/v1/kv/none?keys"] {
        let reply = b.call("GET", missing, "").await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::NOT_FOUND, ""), "{missing}");
        assert!(reply.index() >= 1 && reply.header("x-consul-knownleader") == "true");
    }
    assert_eq!(Bench::agent().get("/v1/kv/?keys").await.body, "[]");
    assert_eq!(b.call("DELETE", "/v1/kv/app/b/?recurse", "").await.body, "true");
    assert_eq!(b.get("/v1/kv/?keys").await.json(), json!(["app/a", "other"]));
}

#[tokio::test]
async fn compare_and_set_over_http() {
    let b = Bench::agent();
    assert_eq!(raw_put(&b, "/v1/kv/k?cas=7", "x").await, "false");
    assert_eq!(raw_put(&b, "/v1/kv/k?cas=0", "x").await, "true");
    let index = b.get("/v1/kv/k").await.json()[0]["ModifyIndex"].clone();
    assert_eq!(raw_put(&b, "/v1/kv/k?cas=0", "y").await, "false");
    assert_eq!(raw_put(&b, &format!("/v1/kv/k?cas={index}"), "y").await, "true");
    assert_eq!(b.call("DELETE", &format!("/v1/kv/k?cas={index}"), "").await.body, "false");
    for (method, path, status, words) in [
        ("PUT", "/v1/kv/", 400, "Missing key name"),
        ("GET", "/v1/kv/", 400, "Missing key name"),
        ("DELETE", "/v1/kv/", 400, "Missing key name"),
        ("PUT", "/v1/kv/k?cas=1&acquire=x", 400, "Conflicting flags"),
        ("DELETE", "/v1/kv/k?cas=1&recurse", 400, "Conflicting flags"),
        ("PUT", "/v1/kv/k?cas=x", 400, "Invalid cas"),
        ("PUT", "/v1/kv/k?flags=-1", 400, "Invalid flags"),
        ("PUT", "/v1/kv/k?acquire=x", 500, "invalid session \"x\""),
    ] {
        let (got, text) = b.refused(method, path, "v").await;
        assert!(got == status && text.contains(words), "{method} {path}: {got} {text}");
    }
    let big = "x".repeat(512 * 1024);
    assert_eq!(raw_put(&b, "/v1/kv/big", &big).await, "true");
    assert_eq!(b.refused("PUT", "/v1/kv/big", &format!("{big}x")).await.0, 413);
}

#[tokio::test]
async fn a_lock_is_held_watched_and_released() {
    let b = Bench::agent();
    let body = json!({"Name": "lock", "TTL": "15s", "LockDelay": "0s"});
    let id = b.put("/v1/session/create", body).await.json()["ID"].as_str().expect("an id").to_owned();
    let other = b.put("/v1/session/create", Value::Null).await.json()["ID"].as_str().expect("an id").to_owned();
    assert_eq!(raw_put(&b, &format!("/v1/kv/lock?acquire={id}"), "me").await, "true");
    assert_eq!(raw_put(&b, &format!("/v1/kv/lock?acquire={other}"), "you").await, "false");
    let row = b.get("/v1/kv/lock").await.json()[0].clone();
    assert_eq!((&row["Session"], &row["LockIndex"]), (&json!(id), &json!(1)));
    let info = b.get(&format!("/v1/session/info/{id}")).await.json()[0].clone();
    assert_eq!(info["TTL"], "15s");
    assert_eq!(info["LockDelay"], 0);
    assert_eq!(info["NodeChecks"], json!(["serfHealth"]));
    assert_eq!(info["Behavior"], "release");
    assert_eq!(b.get("/v1/session/list").await.json().as_array().map(Vec::len), Some(2));
    assert_eq!(b.get("/v1/session/node/n1").await.json().as_array().map(Vec::len), Some(2));
    let renewed = b.put(&format!("/v1/session/renew/{id}"), Value::Null).await.json();
    assert_eq!(renewed[0]["ID"], json!(id));
    let index = b.get("/v1/kv/lock").await.index();
    let watch = format!("/v1/kv/lock?index={index}&wait=20s");
    let (seen, _) = tokio::join!(b.get(&watch), async {
        while b.replica.waiters().is_empty() {
            tokio::task::yield_now().await;
        }
        b.put(&format!("/v1/session/destroy/{id}"), Value::Null).await
    });
    assert!(seen.json()[0].get("Session").is_none());
    assert_eq!(b.get(&format!("/v1/session/info/{id}")).await.body, "[]");
    let (status, text) = b.refused("PUT", &format!("/v1/session/renew/{id}"), "").await;
    assert!(status == 404 && text == format!("Session id '{id}' not found"), "{text}");
    for (body, words) in [
        (json!({"TTL": "1ns"}), "Invalid Session TTL"),
        (json!({"TTL": "48h"}), "Invalid Session TTL"),
        (json!({"Behavior": "odd"}), "Invalid Behavior"),
        (json!({"Node": "nope"}), "Missing node registration"),
        (json!({"Checks": ["nope"]}), "Missing check 'nope' registration"),
    ] {
        let (_, text) = b.refused("PUT", "/v1/session/create", &body.to_string()).await;
        assert!(text.contains(words), "{body}: {text}");
    }
}

#[tokio::test]
async fn transactions() {
    let b = Bench::agent();
    let kv = |verb: &str, key: &str, more: Value| {
        let mut op = json!({"Verb": verb, "Key": key});
        super::super::wire::node::extend(&mut op, [("Value", json!("eA=="))]);
        for (k, v) in more.as_object().expect("a map") {
            op[k] = v.clone();
        }
        json!({"KV": op})
    };
    let none = || json!({});
    let ops = json!([kv("set", "a", none()), kv("set", "b", json!({"Flags": 7})), kv("check-not-exists", "c", none())]);
    let reply = b.put("/v1/txn", ops).await.json();
    assert_eq!(reply["Errors"], Value::Null);
    assert_eq!(reply["Results"].as_array().map(Vec::len), Some(2));
    assert_eq!((&reply["Results"][1]["KV"]["Flags"], &reply["Results"][1]["KV"]["Value"]), (&json!(7), &Value::Null));
    let reads = json!([kv("get", "a", none()), kv("get-or-empty", "zz", none()), kv("get-tree", "", none())]);
    let reply = b.put("/v1/txn", reads).await;
    assert!(reply.index() >= 1);
    assert_eq!(reply.json()["Results"].as_array().map(Vec::len), Some(4));
    assert_eq!(reply.json()["Results"][0]["KV"]["Value"], "eA==");
    let ops = json!([kv("get-tree", "", none()), kv("set", "a2", none()), kv("cas", "a", json!({"Index": 1}))]);
    let failed = b.call("PUT", "/v1/txn", ops.to_string()).await;
    assert_eq!(failed.status, StatusCode::CONFLICT);
    assert_eq!(failed.json()["Errors"][0]["OpIndex"], 2);
    assert_eq!(b.call("GET", "/v1/kv/a2", "").await.status, StatusCode::NOT_FOUND, "nothing was applied");
    let many = json!(vec![kv("set", "x", none()); 129]);
    for (body, status, words) in [
        ("{}".to_owned(), 400, "must be a list"),
        (many.to_string(), 413, "too many operations"),
        (json!([{"Node": {"Verb": "get"}}]).to_string(), 501, "transaction of nodes"),
        (json!([kv("odd", "k", none())]).to_string(), 400, "invalid verb \"odd\""),
        (json!([kv("set", "", none())]).to_string(), 400, "Must provide key"),
        (json!([kv("set", "k", json!({"Value": "%%"}))]).to_string(), 400, "not base64"),
    ] {
        let (got, text) = b.refused("PUT", "/v1/txn", &body).await;
        assert!(got == status && text.contains(words), "{body:.60}: {got} {text}");
    }
}
