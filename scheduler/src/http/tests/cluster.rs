//! Nodes, the agent, namespaces, search, garbage: what belongs to the cluster rather than to a job.

use model::{ClientStatus, Replica};
use serde_json::{Value, json};

use super::{NODE, Rig, alloc_id, log, report};

#[tokio::test]
async fn node_lists_and_objects() {
    let rig = Rig::prepared();
    let list = rig.get("/v1/nodes").await.json();
    assert_eq!(list[0]["Name"], "n1");
    assert_eq!(list[0]["Status"], "ready");
    assert_eq!(list[0]["Drain"], false);
    assert!(list[0].get("Attributes").is_none() && list[0].get("NodeResources").is_none());
    let rich = rig.get("/v1/nodes?os=true&resources=true").await.json();
    assert_eq!(rich[0]["Attributes"], json!({ "os.name": "debian" }));
    assert_eq!(rich[0]["NodeResources"]["MinDynamicPort"], 20_000);
    assert_eq!(rig.get("/v1/nodes?prefix=ffff").await.json(), json!([]));
    assert_eq!(rig.get("/v1/nodes?filter=Status+==+down").await.json(), json!([]));
    assert_eq!(rig.get("/v1/nodes?filter=Attributes%5B%22os.name%22%5D+==+debian").await.json()[0]["ID"], NODE);
    let node = rig.get(&format!("/v1/node/{NODE}")).await.json();
    assert_eq!(node["HTTPAddr"], "127.0.0.1:4646");
    assert_eq!(node["SchedulingEligibility"], "eligible");
    assert_eq!(node["DrainStrategy"], Value::Null);
    assert_eq!(node["Events"][0]["Message"], "Node registered");
    let allocs = rig.get(&format!("/v1/node/{NODE}/allocations")).await.json();
    assert_eq!(allocs[0]["JobID"], "web");
}

#[tokio::test]
async fn drain_and_eligibility() {
    let rig = Rig::prepared();
    let drained =
        rig.put(&format!("/v1/node/{NODE}/drain"), json!({ "DrainSpec": { "Deadline": 3_600_000_000_000_i64 } })).await;
    assert_eq!(drained.status, 200, "{}", drained.text);
    let body = drained.json();
    assert_eq!(body["EvalIDs"].as_array().map(Vec::len), Some(1), "the job on the node is looked at: {body}");
    assert_eq!(body["NodeModifyIndex"], body["Index"]);
    assert_eq!(drained.header("x-nomad-index"), body["Index"].to_string());
    let node = rig.get(&format!("/v1/node/{NODE}")).await.json();
    assert_eq!(node["Drain"], true);
    assert_eq!(node["SchedulingEligibility"], "ineligible");
    assert_eq!(node["DrainStrategy"]["Deadline"], 3_600_000_000_000_i64);
    let refused = rig.put(&format!("/v1/node/{NODE}/eligibility"), json!({ "Eligibility": "eligible" })).await;
    assert_eq!(refused.status, 500);
    assert!(refused.text.contains("while it is draining"), "{}", refused.text);
    let ended = rig.put(&format!("/v1/node/{NODE}/drain"), json!({ "DrainSpec": null, "MarkEligible": true })).await;
    assert_eq!(ended.status, 200);
    assert_eq!(rig.get(&format!("/v1/node/{NODE}")).await.json()["SchedulingEligibility"], "eligible");
    for (deadline, wire) in
        [(json!(-1), json!(-1)), (json!(0), json!(0)), (json!("-1"), json!(-1)), (json!("2s"), json!(2_000_000_000))]
    {
        rig.put(&format!("/v1/node/{NODE}/drain"), json!({ "DrainSpec": { "Deadline": deadline } })).await;
        assert_eq!(rig.get(&format!("/v1/node/{NODE}")).await.json()["DrainStrategy"]["Deadline"], wire);
    }
}

#[tokio::test]
async fn evaluate_and_purge_a_node() {
    let rig = Rig::prepared();
    let looked = rig.put(&format!("/v1/node/{NODE}/evaluate"), json!({})).await.json();
    let id = looked["EvalIDs"][0].as_str().expect("an id").to_owned();
    let eval = rig.get(&format!("/v1/evaluation/{id}")).await.json();
    assert_eq!((&eval["TriggeredBy"], &eval["NodeID"]), (&json!("node-update"), &json!(NODE)));
    assert_eq!(rig.put(&format!("/v1/node/{NODE}/purge"), json!({})).await.status, 200);
    assert_eq!(rig.get(&format!("/v1/node/{NODE}")).await.status, 404);
    assert_eq!(rig.put(&format!("/v1/node/{NODE}/purge"), json!({})).await.status, 404);
}

#[tokio::test]
async fn the_agent_speaks_for_itself() {
    let rig = Rig::prepared();
    let about = rig.get("/v1/agent/self").await.json();
    assert_eq!(about["config"]["BindAddr"], "127.0.0.1");
    assert_eq!(about["config"]["Datacenter"], "dc1");
    assert_eq!(about["config"]["Version"]["Version"], "0.1.0");
    assert_eq!(about["member"]["Tags"]["build"], "0.1.0");
    assert_eq!(about["stats"]["nomad"]["leader"], "true");
    assert_eq!(about["stats"]["client"]["node_id"], NODE);
    let members = rig.get("/v1/agent/members").await.json();
    assert_eq!((&members["ServerDC"], &members["Members"][0]["Status"]), (&json!("dc1"), &json!("alive")));
    assert_eq!(rig.get("/v1/agent/health").await.json(), json!({ "server": { "ok": true, "message": "ok" } }));
    let client = rig.get("/v1/agent/health?type=client").await;
    assert_eq!((client.status.as_u16(), &client.json()["client"]["ok"]), (500, &json!(false)));
    assert_eq!(rig.get("/v1/status/leader").await.json(), json!("127.0.0.1:4647"));
    assert_eq!(rig.get("/v1/status/peers").await.json(), json!(["127.0.0.1:4647"]));
    assert_eq!(rig.get("/v1/metrics").await.json(), json!({ "Gauges": [] }));
    let prometheus = rig.get("/v1/metrics?format=prometheus").await;
    assert_eq!(prometheus.text, "trine_up 1\n");
    assert!(prometheus.header("content-type").starts_with("text/plain"));
    assert_eq!(rig.put("/v1/agent/join?address=x", json!({})).await.json()["num_joined"], 0);
    assert_eq!(rig.get("/v1/namespaces").await.json()[0]["Name"], "default");
    assert_eq!(rig.get("/v1/namespace/default").await.json()["Name"], "default");
    assert_eq!(rig.get("/v1/operator/raft/configuration").await.json()["Servers"][0]["Leader"], true);
}

#[tokio::test]
async fn short_ids_and_names_are_found() {
    let rig = Rig::prepared();
    let all = rig.put("/v1/search", json!({ "Prefix": "00000000", "Context": "all" })).await.json();
    assert_eq!(all["Matches"]["nodes"], json!([NODE]));
    assert_eq!(all["Matches"]["allocs"], json!([alloc_id(0xa1).to_string()]));
    assert_eq!(all["Matches"]["jobs"], json!([]));
    assert_eq!(all["Truncations"]["nodes"], false);
    let one = rig.put("/v1/search", json!({ "Prefix": "w", "Context": "jobs" })).await.json();
    assert_eq!(one["Matches"], json!({ "jobs": ["web"] }));
    let fuzzy = rig.put("/v1/search/fuzzy", json!({ "Text": "SVC", "Context": "all" })).await.json();
    assert_eq!(fuzzy["Matches"]["services"][0], json!({ "ID": "web-svc", "Scope": ["default", "web", "g"] }));
}

#[tokio::test]
async fn garbage_goes_when_asked() {
    let rig = Rig::new(log());
    assert_eq!(rig.put("/v1/system/reconcile/summaries", json!({})).await.status, 200);
    assert_eq!(rig.send("DELETE", "/v1/job/web", "").await.status, 200);
    assert_eq!(rig.put("/v1/system/gc", json!({})).await.status, 200);
    assert_eq!(rig.get("/v1/job/web").await.status, 200, "its allocation still runs");
    rig.replica.apply(report(alloc_id(0xa1), ClientStatus::Complete, None)).expect("applies");
    finish_work(&rig);
    assert_eq!(rig.put("/v1/system/gc", json!({})).await.status, 200);
    let state = rig.replica.snapshot();
    assert!(state.jobs.is_empty() && state.allocs.is_empty() && state.evals.is_empty() && state.deployments.is_empty());
    assert_eq!(state.nodes.len(), 1);
}

/// What the leader would do: end pending evaluations and the deployment of a stopped job.
fn finish_work(rig: &Rig) {
    use model::{Command, DeploymentStatus, EvalStatus, Timestamp};
    let state = rig.replica.snapshot();
    let mut evals: Vec<_> = state.evals.values().map(|e| model::Eval::clone(e)).collect();
    evals.iter_mut().for_each(|e| e.status = EvalStatus::Complete);
    for d in state.deployments.values() {
        rig.replica
            .apply(Command::DeploymentStatus {
                id: d.id,
                status: DeploymentStatus::Cancelled,
                description: String::new(),
                revert: None,
                eval: None,
                at: Timestamp(5),
            })
            .expect("applies");
    }
    rig.replica.apply(Command::Evals { evals, at: Timestamp(5) }).expect("applies");
}
