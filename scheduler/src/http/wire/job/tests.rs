//! The API's job JSON: round trips, legacy forms, wrong types.

use serde_json::json;

use super::*;
use crate::jobspec::{ParseOptions, parse};

#[test]
fn a_job_is_itself_after_the_round_trip() {
    let text = r#"
job "a/b" {
  type = "service"
  group "g" {
    network {
      port "dyn" {}
      port "fix" { static = 8080 }
    }
    service {
      port = "dyn"
      check {
        type     = "http"
        path     = "/"
        interval = "2s"
        timeout  = "1s"
      }
    }
    task "t" {
      driver = "docker"
      config {
        image = "x"
        labels { a = "b" }
      }
      template {
        data        = "x"
        destination = "local/x"
      }
    }
  }
}"#;
    let mut job = parse(text, &ParseOptions::default()).expect("parses").job;
    job.source = None;
    assert_eq!(job.inert.len(), 1);
    let wire = to_json(&job);
    assert_eq!(wire["TaskGroups"][0]["Tasks"][0]["Templates"][0]["EmbeddedTmpl"], "x");
    assert_eq!(wire["TaskGroups"][0]["Networks"][0]["ReservedPorts"][0]["Value"], 8080);
    let back = from_json(&wire).expect("reads its own writing");
    assert_eq!(back, job);
}

#[test]
fn little_is_enough_and_nulls_mean_defaults() {
    let job = from_json(&json!({
        "ID": "x", "Unknown": 1, "Datacenters": null,
        "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "t", "Driver": "raw_exec", "Resources": {
            "Networks": [{"MBits": 10, "DynamicPorts": [{"Label": "http"}], "ReservedPorts": [{"Label": "s", "Value": 80}]}]
        }}]}]
    }))
    .expect("reads");
    assert_eq!(job.datacenters, ["*"]);
    assert_eq!(job.groups[0].count, 1);
    let network = job.groups[0].tasks[0].resources.network.as_ref().expect("kept");
    assert_eq!(network.ports[0].fixed, Some(80));
    assert_eq!(network.ports[1].fixed, None);
}

#[test]
fn a_wrong_type_is_named_by_its_path() {
    let e = from_json(&json!({"ID": "x", "TaskGroups": [{"Name": "g", "Count": "3"}]})).expect_err("refused");
    assert_eq!(e.to_string(), "TaskGroups[0].Count: expected a whole number, found a string");
}
