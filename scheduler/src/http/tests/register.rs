//! Jobs coming in: parse, validate, register, plan, and what is refused on the way.

use model::{EvalStatus, Job, Replica};
use serde_json::{Value, json};

use super::{Rig, node};
use model::{Command, Timestamp};

/// The walkthrough's job files.
const FILES: [(&str, &str); 5] = [
    ("echo-simple", include_str!("../../../../jobs/echo-simple.hcl")),
    ("echo-scaled-up-dynamic", include_str!("../../../../jobs/echo-scaled-up-dynamic.hcl")),
    ("echo-scaled-up-dynamic-consul", include_str!("../../../../jobs/echo-scaled-up-dynamic-consul.hcl")),
    ("fabio", include_str!("../../../../jobs/fabio.hcl")),
    ("echo-consul-fabio", include_str!("../../../../jobs/echo-consul-fabio.hcl")),
];

fn rig() -> Rig {
    Rig::new(vec![Command::NodeRegister { node: Box::new(node()), at: Timestamp(1) }])
}

fn minimal(id: &str) -> Value {
    json!({
        "ID": id, "Name": id, "Type": "service", "Datacenters": ["dc1"],
        "TaskGroups": [{
            "Name": "g", "Count": 1,
            "Tasks": [{ "Name": "t", "Driver": "mock_driver", "Config": { "run_for": "10s" } }],
        }],
    })
}

fn stored(rig: &Rig, id: &str) -> Job {
    let state = rig.replica.snapshot();
    Job::clone(state.job(&model::JobKey::new("default", id)).expect("the job"))
}

#[tokio::test]
async fn files_of_the_walkthrough_parse_and_register() {
    for (name, source) in FILES {
        let rig = rig();
        let parsed = rig.put("/v1/jobs/parse", json!({ "JobHCL": source, "Canonicalize": true })).await;
        assert_eq!(parsed.status, 200, "{name}: {}", parsed.text);
        let job = parsed.json();
        let body = json!({ "Job": job, "Submission": { "Source": source, "Format": "hcl2" } });
        let done = rig.put("/v1/jobs", body).await;
        assert_eq!(done.status, 200, "{name}: {}", done.text);
        let (answer, id) = (done.json(), job["ID"].as_str().expect("an id"));
        assert_eq!(answer["EvalCreateIndex"], answer["Index"], "{name}");
        let eval = rig.get(&format!("/v1/evaluation/{}", answer["EvalID"].as_str().expect("an id"))).await.json();
        assert_eq!((&eval["TriggeredBy"], &eval["JobID"]), (&json!("job-register"), &json!(id)), "{name}");
        let shown = rig.get(&format!("/v1/job/{id}")).await.json();
        assert_eq!(shown["TaskGroups"], job["TaskGroups"], "{name}");
        assert_eq!(shown["JobModifyIndex"], answer["JobModifyIndex"], "{name}");
        let submission = rig.get(&format!("/v1/job/{id}/submission?version=0")).await.json();
        assert_eq!((&submission["Source"], &submission["Format"]), (&json!(source), &json!("hcl2")), "{name}");
    }
}

#[tokio::test]
async fn the_same_job_again_is_no_new_version() {
    let rig = rig();
    let first = rig.put("/v1/jobs", json!({ "Job": minimal("a/b") })).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let again = rig.put("/v1/job/a%2Fb", json!({ "Job": minimal("a/b") })).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(first.json()["JobModifyIndex"], again.json()["JobModifyIndex"]);
    assert_eq!(stored(&rig, "a/b").version, 0);
    let state = rig.replica.snapshot();
    assert!(state.evals.values().all(|e| e.status == EvalStatus::Pending));
}

#[tokio::test]
async fn enforced_indexes_are_enforced() {
    let rig = rig();
    let body = |index: u64| json!({ "Job": minimal("a"), "EnforceIndex": true, "JobModifyIndex": index });
    let early = rig.put("/v1/jobs", body(7)).await;
    assert_eq!(early.status, 500);
    assert!(early.text.starts_with("Enforcing job modify index 7: job does not exist"), "{}", early.text);
    assert_eq!(rig.put("/v1/jobs", body(0)).await.status, 200);
    let late = rig.put("/v1/jobs", body(0)).await;
    assert!(late.text.starts_with("Enforcing job modify index 0: job already exists"), "{}", late.text);
}

#[tokio::test]
async fn counts_are_preserved_when_asked() {
    let rig = rig();
    rig.put("/v1/jobs", json!({ "Job": minimal("a") })).await;
    rig.put("/v1/job/a/scale", json!({ "Target": { "Group": "g" }, "Count": 4 })).await;
    let mut job = minimal("a");
    job["Meta"] = json!({ "k": "v" });
    let body = json!({ "Job": job, "PreserveCounts": true });
    assert_eq!(rig.put("/v1/jobs", body).await.status, 200);
    assert_eq!((stored(&rig, "a").groups[0].count, stored(&rig, "a").version), (4, 2));
    rig.put("/v1/jobs", json!({ "Job": job })).await;
    assert_eq!(stored(&rig, "a").groups[0].count, 1);
}

#[tokio::test]
async fn versions_show_what_changed() {
    let rig = rig();
    rig.put("/v1/jobs", json!({ "Job": minimal("a") })).await;
    rig.put("/v1/job/a/scale", json!({ "Target": { "Group": "g" }, "Count": 4 })).await;
    let body = rig.get("/v1/job/a/versions?diffs=true").await.json();
    let versions: Vec<_> = body["Versions"].as_array().expect("a list").iter().map(|v| v["Version"].clone()).collect();
    assert_eq!(versions, [json!(1), json!(0)]);
    assert_eq!(body["Diffs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_and_changes_nothing() {
    let rig = rig();
    let with = |key: &str, value: Value| {
        let mut job = minimal("a");
        job[key] = value;
        json!({ "Job": job })
    };
    for (body, status, text) in [
        (with("Periodic", json!({ "Spec": "* * * * *", "SpecType": "cron" })), 501, "periodic"),
        (with("ParameterizedJob", json!({ "Payload": "optional" })), 501, "parameterized"),
        (with("Namespace", json!("other")), 500, "nonexistent namespace \"other\""),
        (with("Region", json!("mars")), 500, "No path to region"),
        (with("TaskGroups", json!("x")), 400, "TaskGroups"),
        (json!({ "Job": minimal("a"), "EvalPriority": 101 }), 400, "between 1 and 100"),
        (json!({ "Job": minimal("a"), "PreserveCounts": "yes" }), 400, "expected a boolean"),
    ] {
        let got = rig.put("/v1/jobs", body).await;
        assert_eq!(got.status.as_u16(), status, "{}", got.text);
        assert!(got.text.contains(text), "{}", got.text);
    }
    let other = rig.put("/v1/job/b", json!({ "Job": minimal("a") })).await;
    assert_eq!((other.status.as_u16(), other.text.as_str()), (400, "Job ID does not match"));
    assert!(rig.replica.snapshot().jobs.is_empty());
    let broken = rig.put("/v1/jobs/parse", json!({ "JobHCL": "job \"x\" {\n  grup \"g\" {}\n}" })).await;
    assert_eq!(broken.status, 400);
    assert!(broken.text.contains("grup"), "{}", broken.text);
}

#[tokio::test]
async fn a_running_job_keeps_its_type() {
    let rig = rig();
    rig.put("/v1/jobs", json!({ "Job": minimal("a") })).await;
    let mut job = minimal("a");
    job["Type"] = json!("batch");
    let got = rig.put("/v1/jobs", json!({ "Job": job })).await;
    assert_eq!(got.status, 500);
    assert!(got.text.contains("cannot update job from type \"service\" to \"batch\""), "{}", got.text);
}

#[tokio::test]
async fn validation_answers_with_its_verdict() {
    let rig = rig();
    let good = rig.put("/v1/validate/job", json!({ "Job": minimal("a") })).await;
    assert_eq!((good.status.as_u16(), &good.json()["Error"]), (200, &json!("")), "{}", good.text);
}

#[tokio::test]
async fn a_plan_shows_the_difference_and_changes_nothing() {
    let rig = rig();
    rig.put("/v1/jobs", json!({ "Job": minimal("a") })).await;
    let before = rig.replica.snapshot();
    let mut job = minimal("a");
    job["TaskGroups"][0]["Count"] = json!(3);
    let got = rig.put("/v1/job/a/plan", json!({ "Job": job, "Diff": true })).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let plan = got.json();
    assert_eq!(plan["JobModifyIndex"], before.jobs.values().next().expect("the job").job_modify_index.0);
    assert_eq!((&plan["Diff"]["Type"], &plan["Diff"]["ID"]), (&json!("Edited"), &json!("a")));
    let group = &plan["Diff"]["TaskGroups"][0];
    assert_eq!((&group["Fields"][0]["Old"], &group["Fields"][0]["New"]), (&json!("1"), &json!("3")));
    // The node of this test has no driver and no room: the plan says why nothing fits.
    assert_eq!(plan["Annotations"]["DesiredTGUpdates"]["g"]["Place"], 3);
    assert!(plan["FailedTGAllocs"]["g"]["NodesEvaluated"].is_u64(), "{plan}");
    assert_eq!(rig.put("/v1/job/a/plan", json!({ "Job": job })).await.json()["Diff"], Value::Null);
    assert_eq!(*rig.replica.snapshot(), *before);
    let mismatch = rig.put("/v1/job/b/plan", json!({ "Job": job })).await;
    assert_eq!((mismatch.status.as_u16(), mismatch.text.as_str()), (400, "Job ID does not match"));
}

#[tokio::test]
async fn invalid_jobs_are_told_every_reason() {
    let rig = rig();
    let mut job = minimal("a");
    job["Datacenters"] = json!([""]);
    job["TaskGroups"][0]["Tasks"] = json!([]);
    let got = rig.put("/v1/jobs", json!({ "Job": job })).await;
    assert_eq!(got.status, 500, "{}", got.text);
    assert!(got.text.starts_with("2 errors occurred:\n\t* "), "{}", got.text);
    let verdict = rig.put("/v1/validate/job", json!({ "Job": job })).await;
    assert_eq!(verdict.status, 200);
    assert_eq!(verdict.json()["ValidationErrors"].as_array().map(Vec::len), Some(2));
    assert_eq!(verdict.json()["Error"], got.text);
    assert!(rig.replica.snapshot().jobs.is_empty());
}

#[tokio::test]
async fn a_port_of_the_agents_own_role_is_refused() {
    let mut node = node();
    node.attributes.insert("unique.trine.port.9999".into(), "lb".into());
    node.attributes.insert("driver.raw_exec".into(), "1".into());
    let healthy = model::node::DriverInfo { detected: true, healthy: true, ..Default::default() };
    node.drivers.insert("raw_exec".into(), healthy);
    let rig = Rig::new(vec![Command::NodeRegister { node: Box::new(node), at: Timestamp(1) }]);
    let (_, fabio) = FILES[3];
    let job = rig.put("/v1/jobs/parse", json!({ "JobHCL": fabio })).await.json();
    let got = rig.put("/v1/jobs", json!({ "Job": job })).await;
    assert_eq!(got.status, 500, "{}", got.text);
    assert!(got.text.contains("port 9999") && got.text.contains("lb { enabled = false }"), "{}", got.text);
}
