//! Services, checks and maintenance of the agent.

use super::*;

#[tokio::test]
async fn a_registered_service_is_seen_at_once() {
    let b = Bench::agent();
    let body = json!({"Name": "web", "Tags": ["a"], "Port": 8080,
        "Check": {"HTTP": "http://127.0.0.1:1/", "Interval": "10s", "DeregisterCriticalServiceAfter": "1m"}});
    assert_eq!(b.put("/v1/agent/service/register", body.clone()).await.body, "");
    let services = b.get("/v1/agent/services").await.json();
    assert_eq!(
        services,
        json!({"web": {"ID": "web", "Service": "web", "Tags": ["a"], "Meta": {}, "Port": 8080, "Address": "",
            "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Datacenter": "dc1"}})
    );
    let health = &b.get("/v1/health/service/web").await.json()[0];
    assert_eq!(health["Node"]["Address"], "10.0.0.1");
    let check = &health["Checks"][1];
    assert_eq!(
        (&check["CheckID"], &check["Name"], &check["Status"], &check["Type"], &check["Interval"]),
        (&json!("service:web"), &json!("Service 'web' check"), &json!("critical"), &json!("http"), &json!("10s"))
    );
    assert_eq!(b.get("/v1/health/service/web?passing").await.body, "[]");
    assert!(b.get("/v1/agent/checks").await.json()["service:web"].is_object());
    // A verdict outlives a second registration that does not name one.
    b.replica
        .apply(Command::CheckVerdict {
            node: "n1".into(),
            instance: Some("web".into()),
            check: "service:web".into(),
            verdict: Verdict::Passing,
            output: "fine".into(),
        })
        .expect("applies");
    let index = b.get("/v1/health/service/web").await.index();
    b.put("/v1/agent/service/register", body).await;
    let health = b.get("/v1/health/service/web?passing").await;
    assert_eq!((health.index(), &health.json()[0]["Checks"][1]["Output"]), (index, &json!("fine")));
    b.put("/v1/agent/service/deregister/web", Value::Null).await;
    assert_eq!(b.get("/v1/agent/services").await.body, "{}");
    assert_eq!(b.get("/v1/catalog/services").await.body, "{}");
}

#[tokio::test]
async fn several_checks_are_numbered_and_replaced_when_asked() {
    let b = Bench::agent();
    let checks = json!([{"TTL": "10s"}, {"tcp": "127.0.0.1:1", "interval": 5_000_000_000u64}]);
    b.put("/v1/agent/service/register", json!({"id": "w/1#x", "name": "web", "checks": checks})).await;
    let all = b.get("/v1/agent/checks").await.json();
    assert_eq!(all["service:w/1#x:1"]["Type"], "ttl");
    assert_eq!(all["service:w/1#x:2"]["Interval"], "5s");
    let one = json!({"id": "w/1#x", "name": "web", "check": {"ttl": "10s", "checkid": "only"}});
    b.put("/v1/agent/service/register?replace-existing-checks", one).await;
    let all = b.get("/v1/agent/checks").await.json();
    assert_eq!(all.as_object().expect("a map").keys().collect::<Vec<_>>(), ["only"]);
    // Everything behind the prefix is the id.
    b.put("/v1/agent/service/deregister/w/1%23x", Value::Null).await;
    assert_eq!(b.get("/v1/agent/services").await.body, "{}");
}

#[tokio::test]
async fn ttl_checks_are_what_they_are_told() {
    let b = Bench::agent();
    b.put("/v1/agent/check/register", json!({"Name": "disk", "TTL": "30s", "Status": "passing"})).await;
    for (path, body, status, output) in [
        ("/v1/agent/check/warn/disk?note=half+full", Value::Null, "warning", "half full"),
        ("/v1/agent/check/fail/disk?note=full", Value::Null, "critical", "full"),
        ("/v1/agent/check/pass/disk", Value::Null, "passing", ""),
        ("/v1/agent/check/update/disk", json!({"Status": "warning", "Output": "hm"}), "warning", "hm"),
    ] {
        b.put(path, body).await;
        let check = b.get("/v1/agent/checks").await.json()["disk"].clone();
        assert_eq!((check["Status"].as_str(), check["Output"].as_str()), (Some(status), Some(output)));
    }
    let before = b.replica.snapshot().index;
    b.put("/v1/agent/check/update/disk", json!({"Status": "warning", "Output": "hm"})).await;
    assert_eq!(b.replica.snapshot().index, before, "a heartbeat that says nothing new is not written");
    b.put("/v1/agent/check/deregister/disk", Value::Null).await;
    assert_eq!(b.get("/v1/agent/checks").await.body, "{}");
}

#[tokio::test]
async fn maintenance_takes_out_and_brings_back() {
    let b = Bench::agent();
    b.put("/v1/agent/service/register", json!({"Name": "web", "Port": 1})).await;
    let passing = |b: &Bench| {
        let router = b.router.clone();
        async move {
            let request = Request::get("/v1/health/service/web?passing").body(Body::empty()).expect("a request");
            let body = router.oneshot(request).await.expect("serves").into_body().collect().await.expect("a body");
            serde_json::from_slice::<Value>(&body.to_bytes()).expect("json").as_array().expect("a list").len()
        }
    };
    assert_eq!(passing(&b).await, 1);
    for path in ["/v1/agent/service/maintenance/web", "/v1/agent/maintenance"] {
        b.put(&format!("{path}?enable=true&reason=new%20disk"), Value::Null).await;
        assert_eq!(passing(&b).await, 0, "{path}");
        let health = b.call("GET", "/v1/agent/health/service/id/web", "").await;
        assert_eq!((health.status.as_u16(), health.header("x-consul-reason")), (503, "maintenance"));
        b.put(&format!("{path}?enable=false"), Value::Null).await;
        assert_eq!(passing(&b).await, 1, "{path}");
    }
    let health = b.call("GET", "/v1/agent/health/service/name/web?format=text", "").await;
    assert_eq!((health.status.as_u16(), health.body.as_str()), (200, "passing"));
    assert_eq!(b.call("GET", "/v1/agent/health/service/id/nope", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_agent_describes_itself() {
    let b = Bench::agent();
    let about = b.get("/v1/agent/self").await.json();
    let keys: Vec<_> = about.as_object().expect("a map").keys().cloned().collect();
    assert_eq!(keys, ["Config", "Coord", "DebugConfig", "Member", "Meta", "Stats", "xDS"]);
    assert_eq!(about["Config"]["Datacenter"], "dc1");
    assert_eq!(about["Stats"]["consul"]["leader_addr"], "127.0.0.1:4647");
    let members = b.get("/v1/agent/members").await.json();
    assert_eq!((&members[0]["Name"], &members[0]["Status"]), (&json!("n1"), &json!(1)));
    assert_eq!(b.get("/v1/agent/connect/ca/roots").await.json()["Roots"], json!([]));
}

#[tokio::test]
async fn a_service_can_be_watched_by_its_hash() {
    let b = Bench::agent();
    b.put("/v1/agent/service/register", json!({"Name": "web", "Port": 1})).await;
    let hash = b.get("/v1/agent/service/web").await.header("x-consul-contenthash").to_owned();
    let path = format!("/v1/agent/service/web?hash={hash}&wait=10s");
    let (watched, _) = tokio::join!(b.get(&path), async {
        while b.replica.waiters().is_empty() {
            tokio::task::yield_now().await;
        }
        b.put("/v1/agent/service/register", json!({"Name": "web", "Port": 2})).await
    });
    assert_eq!(watched.json()["Port"], 2);
    assert_ne!(watched.header("x-consul-contenthash"), hash);
    let path = format!("/v1/agent/service/web?hash={}&wait=10ms", watched.header("x-consul-contenthash"));
    let unchanged = b.get(&path);
    assert_eq!(unchanged.await.json()["Port"], 2);
}

#[tokio::test]
async fn what_an_allocation_brought_stays_until_its_job_stops() {
    let mut state = State::default();
    let alloc = crate::fixture::running_alloc(&mut state, "n1");
    let b = Bench::new(state);
    let services = b.get("/v1/agent/services").await.json();
    let id = services.as_object().expect("a map").keys().next().expect("one").clone();
    assert!(services[&id]["Service"] == "web" && ClientStatus::Running == b.replica.snapshot().allocs[&alloc].client);
    let (status, text) = b.refused("PUT", &format!("/v1/agent/service/deregister/{id}"), "").await;
    assert!(status == 500 && text.contains(&format!("belongs to allocation {alloc}; stop its job")), "{text}");
    let (_, text) =
        b.refused("PUT", "/v1/catalog/deregister", &json!({"Node": "n1", "ServiceID": id}).to_string()).await;
    assert!(text.contains("belongs to allocation"), "{text}");
    let (_, text) = b.refused("PUT", "/v1/catalog/deregister", r#"{"Node":"n1"}"#).await;
    assert!(text.contains("runs an agent"), "{text}");
    assert_eq!(b.get("/v1/agent/services").await.json(), services);
    assert_eq!(b.get("/v1/catalog/service/web").await.json().as_array().map(Vec::len), Some(1));
    drop(b.local);
}
