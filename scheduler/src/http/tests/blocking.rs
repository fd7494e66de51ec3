//! Blocking queries and the event stream: who wakes, who does not, and what they are told.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use model::{ClientStatus, Command, Eligibility, Timestamp};
use serde_json::Value;

use super::{NODE, Rig, alloc_id, job, node, register, report};

#[tokio::test]
async fn an_index_in_the_past_answers_at_once() {
    let rig = Rig::prepared();
    for path in ["/v1/jobs?index=0&wait=5s", "/v1/jobs?wait=5s", "/v1/jobs?index=1&wait=5s"] {
        let start = Instant::now();
        assert_eq!(rig.get(path).await.status, 200);
        assert!(start.elapsed() < Duration::from_secs(2), "{path}");
    }
}

#[tokio::test]
async fn a_change_wakes_those_who_wait_for_it() {
    let rig = Rig::prepared();
    let at = rig.get("/v1/allocations").await.header("x-nomad-index").to_owned();
    let path = format!("/v1/allocations?index={at}&wait=10000ms");
    let (woken, ()) = tokio::join!(rig.get(&path), async {
        until_waiting(&rig).await;
        rig.replica.apply(report(alloc_id(0xa1), ClientStatus::Running, Some(true))).expect("applies");
    });
    assert_eq!(woken.json()[0]["DeploymentStatus"]["Healthy"], true);
    assert!(woken.header("x-nomad-index").parse::<u64>().expect("a number") > at.parse().expect("a number"));
}

#[tokio::test]
async fn a_change_elsewhere_wakes_nobody() {
    let rig = Rig::prepared();
    let at = rig.get("/v1/job/web").await.header("x-nomad-index").to_owned();
    let path = format!("/v1/job/web?index={at}&wait=300ms");
    let start = Instant::now();
    let (same, ()) = tokio::join!(rig.get(&path), async {
        until_waiting(&rig).await;
        rig.replica.apply(register(job("other"))).expect("applies");
    });
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(same.header("x-nomad-index"), at, "a timeout answers with the unchanged index");
}

#[tokio::test]
async fn a_missing_object_can_be_waited_for() {
    let rig = Rig::prepared();
    let path = "/v1/job/later?index=99&wait=10s";
    let (found, ()) = tokio::join!(rig.get(path), async {
        until_waiting(&rig).await;
        for n in 0..100 {
            rig.replica.apply(register(job(&format!("filler-{n}")))).expect("applies");
        }
        rig.replica.apply(register(job("later"))).expect("applies");
    });
    assert_eq!((found.status.as_u16(), found.json()["ID"].clone()), (200, Value::from("later")));
}

/// Until the request that runs beside this sleeps in the registry.
async fn until_waiting(rig: &Rig) {
    use model::Replica;
    for _ in 0..10_000 {
        if !rig.replica.waiters().is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("nobody waits");
}

async fn line(body: &mut axum::body::Body) -> Value {
    let frame = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.expect("a line in time");
    let bytes = frame.expect("a frame").expect("no error").into_data().expect("data");
    assert!(bytes.ends_with(b"\n"));
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn events_follow_the_state() {
    let rig = Rig::prepared();
    let mut body = rig.open("/v1/event/stream?topic=Node&topic=Job:web2").await;
    assert_eq!(line(&mut body).await, serde_json::json!({}), "the first line is a heartbeat");
    rig.replica.apply(register(job("unasked"))).expect("applies");
    rig.replica.apply(register(job("web2"))).expect("applies");
    let first = line(&mut body).await;
    assert_eq!(first["Index"], 6);
    assert_eq!(first["Events"].as_array().map(Vec::len), Some(1), "{first}");
    let event = &first["Events"][0];
    assert_eq!(
        (&event["Topic"], &event["Type"], &event["Key"]),
        (&"Job".into(), &"JobRegistered".into(), &"web2".into())
    );
    assert_eq!(event["Payload"]["Job"]["ID"], "web2");
    rig.replica
        .apply(Command::NodeEligibility { node: node().id, eligibility: Eligibility::Ineligible, at: Timestamp(1) })
        .expect("applies");
    let second = line(&mut body).await;
    assert_eq!((&second["Events"][0]["Type"], &second["Events"][0]["Key"]), (&"NodeEligibility".into(), &NODE.into()));
}

#[tokio::test]
async fn events_since_an_index_begin_with_what_is_newer() {
    let rig = Rig::prepared();
    let mut body = rig.open("/v1/event/stream?index=3&topic=*").await;
    line(&mut body).await;
    let events = line(&mut body).await["Events"].clone();
    let mut topics: Vec<&str> = events.as_array().expect("a list").iter().filter_map(|e| e["Topic"].as_str()).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["Allocation", "Service"], "{events}");
}

#[tokio::test]
async fn a_service_that_goes_is_told() {
    let rig = Rig::prepared();
    let mut body = rig.open("/v1/event/stream?topic=Service:web-svc").await;
    line(&mut body).await;
    rig.replica.apply(report(alloc_id(0xa1), ClientStatus::Complete, None)).expect("applies");
    let gone = line(&mut body).await;
    assert_eq!(gone["Events"][0]["Type"], "ServiceDeregistration", "{gone}");
    assert_eq!(gone["Events"][0]["Payload"]["Service"]["Port"], 20_001);
}
