//! Jobs, allocations, evaluations, deployments, services.

use model::{ClientStatus, Command, Replica};
use serde_json::{Value, json};

use super::{DEPLOYMENT, EVAL, NODE, Rig, alloc, alloc_id, deploy, deployment, job, log, place, register, report};

#[tokio::test]
async fn job_list() {
    let rig = Rig::prepared();
    let list = rig.get("/v1/jobs").await.json();
    let stub = &list[0];
    assert_eq!((&stub["ID"], &stub["Type"], &stub["Status"]), (&json!("web"), &json!("service"), &json!("running")));
    assert_eq!(stub["SubmitTime"], 1_000_000_000_u64);
    let counts = &stub["JobSummary"]["Summary"]["g"];
    assert_eq!((&counts["Running"], &counts["Queued"], &counts["Starting"]), (&json!(1), &json!(2), &json!(0)));
    assert!(stub.get("Meta").is_none());
    assert!(rig.get("/v1/jobs?meta=true").await.json()[0].get("Meta").is_some());
    assert_eq!(rig.get("/v1/jobs?prefix=x").await.json(), json!([]));
    assert_eq!(rig.get("/v1/jobs?namespace=other").await.json(), json!([]));
    assert_eq!(rig.get("/v1/jobs?namespace=*").await.json().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let mut commands = log();
    commands.extend(["a", "b/c", "d"].map(|id| register(job(id))));
    let rig = Rig::new(commands);
    for (extra, wanted) in [("", ["a", "b/c", "d", "web"]), ("&reverse=true", ["web", "d", "b/c", "a"])] {
        let (mut token, mut seen) = (String::new(), Vec::new());
        loop {
            let page = rig.get(&format!("/v1/jobs?per_page=3&next_token={token}{extra}")).await;
            seen.extend(
                page.json().as_array().expect("a list").iter().map(|j| j["ID"].as_str().expect("an id").to_owned()),
            );
            token = page.header("x-nomad-nexttoken").to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, wanted);
    }
}

#[tokio::test]
async fn one_job() {
    let mut commands = log();
    commands.push(register(job("b/c")));
    let rig = Rig::new(commands);
    for path in ["/v1/job/b/c", "/v1/job/b%2Fc", "/v1/job/b%2fc?stale"] {
        assert_eq!(rig.get(path).await.json()["ID"], "b/c", "{path}");
    }
    let summary = rig.get("/v1/job/web/summary").await.json();
    assert_eq!((&summary["JobID"], &summary["Summary"]["g"]["Running"]), (&json!("web"), &json!(1)));
    assert_eq!(summary["Children"], json!({ "Pending": 0, "Running": 0, "Dead": 0 }));
    let scale = rig.get("/v1/job/web/scale").await.json();
    assert_eq!((&scale["TaskGroups"]["g"]["Running"], &scale["JobStopped"]), (&json!(1), &json!(false)));
    assert_eq!(rig.get("/v1/job/web/allocations?all=true").await.json()[0]["ClientStatus"], "running");
    assert_eq!(rig.get("/v1/job/web/evaluations").await.json()[0]["ID"], EVAL);
    assert_eq!(rig.get("/v1/job/web/deployments").await.json()[0]["ID"], DEPLOYMENT);
    assert_eq!(rig.get("/v1/job/web/deployment").await.json()["Status"], "running");
    assert_eq!(rig.get("/v1/job/b%2Fc/deployment").await.json(), Value::Null);
    assert_eq!(rig.get("/v1/job/web/services").await.json()[0]["Port"], 20_001);
    assert_eq!(rig.get("/v1/job/web/versions").await.json()["Versions"].as_array().map(Vec::len), Some(1));
    assert_eq!(rig.get("/v1/job/web/actions").await.json(), json!([]));
}

#[tokio::test]
async fn statuses_for_the_page() {
    let rig = Rig::prepared();
    for got in [
        rig.get("/v1/jobs/statuses").await,
        rig.put("/v1/jobs/statuses", json!({ "Jobs": [{ "ID": "web", "Namespace": "default" }, { "ID": "gone" }] }))
            .await,
    ] {
        let row = &got.json()[0];
        assert_eq!((&row["ID"], &row["GroupCountSum"]), (&json!("web"), &json!(1)));
        assert_eq!((&row["Allocs"][0]["Group"], &row["Allocs"][0]["NodeID"]), (&json!("g"), &json!(NODE)));
        assert_eq!(row["LatestDeployment"]["IsActive"], true);
        assert_eq!(got.header("x-nomad-index"), row["ModifyIndex"].to_string());
    }
}

#[tokio::test]
async fn stopping_and_purging() {
    let rig = Rig::prepared();
    let stopped = rig.send("DELETE", "/v1/job/web?purge=false", "").await;
    let body = stopped.json();
    assert_eq!(body["JobModifyIndex"], body["Index"]);
    let eval = rig.get(&format!("/v1/evaluation/{}", body["EvalID"].as_str().expect("an id"))).await.json();
    assert_eq!((&eval["TriggeredBy"], &eval["Status"]), (&json!("job-deregister"), &json!("pending")));
    assert!(rig.replica.snapshot().jobs.values().next().expect("the job").stop);
    assert_eq!(rig.send("DELETE", "/v1/job/web?purge=true", "").await.status, 200);
    assert_eq!(rig.get("/v1/job/web").await.status, 404);
    assert_eq!(rig.get("/v1/job/web/allocations").await.json().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn scaling_reverting_evaluating() {
    let rig = Rig::prepared();
    rig.put(&format!("/v1/deployment/fail/{DEPLOYMENT}"), json!({})).await;
    let scaled = rig.put("/v1/job/web/scale", json!({ "Target": { "Group": "g" }, "Count": 3 })).await;
    assert_eq!(scaled.status, 200, "{}", scaled.text);
    let state = rig.replica.snapshot();
    let now = state.jobs.values().next().expect("the job");
    assert_eq!((now.version, now.groups[0].count), (1, 3));
    let eval = rig.get(&format!("/v1/evaluation/{}", scaled.json()["EvalID"].as_str().expect("an id"))).await.json();
    assert_eq!(eval["TriggeredBy"], "job-scaling");
    let wrong =
        rig.put("/v1/job/web/revert", json!({ "JobID": "web", "JobVersion": 0, "EnforcePriorVersion": 5 })).await;
    assert_eq!((wrong.status.as_u16(), wrong.text.as_str()), (500, "Current job has version 1; enforcing version 5"));
    let reverted = rig.put("/v1/job/web/revert", json!({ "JobID": "web", "JobVersion": 0 })).await;
    assert_eq!(reverted.status, 200, "{}", reverted.text);
    let state = rig.replica.snapshot();
    let now = state.jobs.values().next().expect("the job");
    assert_eq!((now.version, now.groups[0].count), (2, 1));
    let stable = rig.put("/v1/job/web/stable", json!({ "JobID": "web", "JobVersion": 2, "Stable": true })).await;
    assert_eq!(stable.status, 200, "{}", stable.text);
    assert!(rig.replica.snapshot().jobs.values().next().expect("the job").stable);
    assert_eq!(
        rig.put("/v1/job/web/stable", json!({ "JobID": "web", "JobVersion": 9, "Stable": true })).await.status,
        404
    );
    let looked = rig.send("PUT", "/v1/job/web/evaluate", "").await;
    assert_eq!(looked.status, 200, "{}", looked.text);
    rig.replica.apply(report(alloc_id(0xa1), ClientStatus::Failed, None)).expect("applies");
    let force = json!({ "JobID": "web", "EvalOptions": { "ForceReschedule": true } });
    assert_eq!(rig.put("/v1/job/web/evaluate", force).await.status, 200);
    assert!(rig.replica.snapshot().allocs[&alloc_id(0xa1)].transition.force_reschedule);
}

#[tokio::test]
async fn allocations() {
    let rig = Rig::prepared();
    let id = alloc_id(0xa1).to_string();
    let list = rig.get("/v1/allocations").await.json();
    assert_eq!((&list[0]["ID"], &list[0]["TaskStates"]["t"]["State"]), (&json!(id), &json!("running")));
    assert!(list[0].get("AllocatedResources").is_none());
    assert_eq!(rig.get("/v1/allocations?task_states=false").await.json()[0]["TaskStates"], Value::Null);
    let rich = rig.get("/v1/allocations?resources=true&prefix=00000000-0000").await.json();
    assert_eq!(rich[0]["AllocatedResources"]["Tasks"]["t"]["Cpu"]["CpuShares"], 100);
    assert_eq!(rig.get("/v1/allocations?prefix=ff").await.json(), json!([]));
    let found = rig.get("/v1/allocations?filter=ClientStatus+==+running+and+TaskGroup+==+g").await.json();
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    let one = rig.get(&format!("/v1/allocation/{id}")).await.json();
    assert_eq!(one["Job"]["ID"], "web");
    assert_eq!((&one["DeploymentID"], &one["EvalID"]), (&json!(DEPLOYMENT), &json!(EVAL)));
    assert_eq!(one["CreateTime"], 2_000_000_000_u64);
    let shared = &one["AllocatedResources"]["Shared"];
    assert_eq!(
        shared["Ports"][0],
        json!({ "Label": "http", "Value": 20_001, "To": 20_001, "HostIP": "127.0.0.1", "IgnoreCollision": false })
    );
    assert_eq!(shared["Networks"][0]["ReservedPorts"][0]["Label"], "admin");
    assert_eq!(shared["Networks"][0]["DynamicPorts"][0]["Label"], "http");
    let event = &one["TaskStates"]["t"]["Events"][0];
    assert_eq!(
        (&event["Type"], &event["ExitCode"], &event["DisplayMessage"]),
        (&json!("Terminated"), &json!(3), &json!("Exit Code: 3"))
    );
    assert_eq!(one["TaskStates"]["t"]["StartedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(rig.get(&format!("/v1/allocation/{id}/services")).await.json()[0]["ServiceName"], "web-svc");
    assert_eq!(rig.get(&format!("/v1/allocation/{id}/checks")).await.json(), json!({}));
    let stopped = rig.send("POST", &format!("/v1/allocation/{id}/stop?no_shutdown_delay=true"), "").await.json();
    let eval = rig.get(&format!("/v1/evaluation/{}", stopped["EvalID"].as_str().expect("an id"))).await.json();
    assert_eq!(eval["TriggeredBy"], "alloc-stop");
    assert_eq!(rig.get(&format!("/v1/allocation/{id}")).await.json()["DesiredTransition"]["Migrate"], true);
}

#[tokio::test]
async fn evaluations() {
    let rig = Rig::prepared();
    let one = rig.get(&format!("/v1/evaluation/{EVAL}?related=true")).await.json();
    assert_eq!(
        (&one["Status"], &one["Type"], &one["QueuedAllocations"]["g"]),
        (&json!("complete"), &json!("service"), &json!(2))
    );
    assert_eq!(one["RelatedEvals"], json!([]));
    assert_eq!(rig.get(&format!("/v1/evaluation/{EVAL}/allocations")).await.json()[0]["JobID"], "web");
    assert_eq!(rig.get("/v1/evaluations?status=complete&job=web").await.json()[0]["ID"], EVAL);
    assert_eq!(rig.get("/v1/evaluations?status=blocked").await.json(), json!([]));
    assert_eq!(rig.get("/v1/evaluations/count").await.json()["Count"], 1);
}

#[tokio::test]
async fn deployments() {
    let rig = Rig::prepared();
    let one = rig.get(&format!("/v1/deployment/{DEPLOYMENT}")).await.json();
    assert_eq!((&one["JobID"], &one["TaskGroups"]["g"]["PlacedAllocs"]), (&json!("web"), &json!(1)));
    assert_eq!(rig.get("/v1/deployments?prefix=00000000").await.json()[0]["ID"], DEPLOYMENT);
    let path = format!("/v1/deployment/allocations/{DEPLOYMENT}");
    assert_eq!(rig.get(&path).await.json()[0]["ID"], alloc_id(0xa1).to_string());
    let put = async |verb: &str, body: Value| rig.put(&format!("/v1/deployment/{verb}/{DEPLOYMENT}"), body).await;
    assert_eq!(put("pause", json!({ "Pause": true })).await.json()["EvalID"], "");
    assert_eq!(
        rig.get(&format!("/v1/deployment/{DEPLOYMENT}")).await.json()["StatusDescription"],
        "Deployment is paused"
    );
    assert_ne!(put("pause", json!({ "Pause": false })).await.json()["EvalID"], "");
    let id = alloc_id(0xa1).to_string();
    let set = put("allocation-health", json!({ "HealthyAllocationIDs": [id] })).await;
    assert_eq!(set.status, 200, "{}", set.text);
    assert_eq!(rig.get(&format!("/v1/deployment/{DEPLOYMENT}")).await.json()["TaskGroups"]["g"]["HealthyAllocs"], 1);
    let none = put("promote", json!({ "All": true })).await;
    assert_eq!((none.status.as_u16(), none.text.as_str()), (500, "no canaries to promote"));
    assert_eq!(put("promote", json!({})).await.status, 400);
    assert_eq!(put("promote", json!({ "Groups": ["x"] })).await.status, 400);
    let failed = put("fail", json!({})).await.json();
    assert_eq!(failed["RevertedJobVersion"], Value::Null);
    for (verb, body, text) in [
        ("fail", json!({}), "can't fail terminal deployment"),
        ("pause", json!({ "Pause": false }), "can't resume terminal deployment"),
        ("promote", json!({ "All": true }), "can't promote terminal deployment"),
        (
            "allocation-health",
            json!({ "HealthyAllocationIDs": [id] }),
            "can't set health of allocations for a terminal deployment",
        ),
    ] {
        let got = put(verb, body).await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (500, text));
    }
}

#[tokio::test]
async fn failing_by_hand_goes_back_when_a_group_asks_for_it() {
    let mut rolling = deployment();
    rolling.job_version = 1;
    rolling.groups.values_mut().for_each(|g| g.auto_revert = true);
    let mut newer = job("web");
    newer.groups[0].count = 2;
    let stable = Command::JobStability { job: newer.key(), version: 0, stable: true };
    let rig = Rig::new(vec![register(job("web")), stable, register(newer), deploy(rolling)]);
    let failed = rig.put(&format!("/v1/deployment/fail/{DEPLOYMENT}"), json!({})).await;
    assert_eq!((failed.status.as_u16(), &failed.json()["RevertedJobVersion"]), (200, &json!(0)), "{}", failed.text);
    let shown = rig.get(&format!("/v1/deployment/{DEPLOYMENT}")).await.json();
    assert_eq!(shown["StatusDescription"], "Deployment marked as failed - rolling back to job version 0");
    let now = rig.get("/v1/job/web").await.json();
    assert_eq!((&now["Version"], &now["TaskGroups"][0]["Count"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn services() {
    let mut commands = log();
    let (mut second, mut third) = (alloc(0xa2), alloc(0xa3));
    (second.slot, third.slot) = (1, 2);
    commands.insert(3, place(vec![second, third]));
    commands.extend([0xa2, 0xa3].map(|n| report(alloc_id(n), ClientStatus::Running, None)));
    let rig = Rig::new(commands);
    let list = rig.get("/v1/services?stale&namespace=default").await.json();
    assert_eq!(
        list,
        json!([{ "Namespace": "default", "Services": [{ "ServiceName": "web-svc", "Tags": ["a", "b"] }] }])
    );
    let all = rig.get("/v1/service/web-svc").await.json();
    assert_eq!(all.as_array().map(Vec::len), Some(3));
    let one = &all[0];
    for field in ["ID", "ServiceName", "Namespace", "NodeID", "Datacenter", "JobID", "AllocID", "Address"] {
        assert!(one[field].as_str().is_some_and(|v| !v.is_empty()), "{field}: {one}");
    }
    assert_eq!((&one["Tags"], &one["Port"], &one["Datacenter"]), (&json!(["a", "b"]), &json!(20_001), &json!("dc1")));
    assert_eq!(rig.get("/v1/service/unknown").await.json(), json!([]));
    let filtered = rig.get("/v1/service/web-svc?filter=Tags+contains+%22a%22").await.json();
    assert_eq!(filtered.as_array().map(Vec::len), Some(3));
    let chosen = rig.get("/v1/service/web-svc?choose=1%7Ckey").await.json();
    assert_eq!(chosen.as_array().map(Vec::len), Some(1));
    assert_eq!(chosen, rig.get("/v1/service/web-svc?choose=1%7Ckey").await.json());
    let kept = rig.send("DELETE", "/v1/service/web-svc/x", "").await;
    assert_eq!(kept.status, 501);
}
