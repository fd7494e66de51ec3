//! Differences as `job plan` shows them.

use super::*;
use crate::jobspec::{ParseOptions, parse};

fn job(text: &str) -> Job {
    parse(text, &ParseOptions::default()).unwrap_or_else(|e| panic!("{e}")).job
}

const BASE: &str = r#"
job "x" {
  group "g" {
    count = 1
    task "t" {
      driver = "docker"
      config {
        image = "a"
        args  = ["1", "2"]
      }
    }
  }
}"#;

#[test]
fn nothing_changed() {
    let d = job_diff(Some(&job(BASE)), &job(BASE));
    assert_eq!(d.kind, DiffKind::None);
    assert!(d.fields.is_empty() && d.objects.is_empty() && d.task_groups.is_empty());
}

#[test]
fn what_the_state_writes_is_no_change() {
    let mut old = job(BASE);
    old.version = 7;
    old.stable = true;
    assert_eq!(job_diff(Some(&old), &job(BASE)).kind, DiffKind::None);
}

#[test]
fn a_new_job_is_added_as_a_whole() {
    let d = job_diff(None, &job(BASE));
    assert_eq!(
        (d.kind, d.task_groups[0].kind, d.task_groups[0].tasks[0].kind),
        (DiffKind::Added, DiffKind::Added, DiffKind::Added)
    );
    assert_eq!(d.task_groups[0].tasks[0].annotations, ["forces create"]);
}

#[test]
fn count_and_config() {
    let new = job(&BASE.replace("count = 1", "count = 3").replace("\"2\"", "\"3\""));
    let d = serde_json::to_value(job_diff(Some(&job(BASE)), &new)).expect("serialises");
    let g = &d["TaskGroups"][0];
    assert_eq!(d["Type"], "Edited");
    assert_eq!(g["Fields"][0]["Name"], "Count");
    assert_eq!(g["Fields"][0]["Annotations"][0], "forces create");
    let config = &g["Tasks"][0]["Objects"][0];
    assert_eq!((&config["Name"], &config["Fields"][0]["Name"]), (&"Config".into(), &"args[1]".into()));
    assert_eq!((&config["Fields"][0]["Old"], &config["Fields"][0]["New"]), (&"2".into(), &"3".into()));
    assert_eq!(g["Tasks"][0]["Annotations"][0], "forces create/destroy update");
}

#[test]
fn services_change_in_place() {
    let with =
        |tag: &str| BASE.replace("driver =", &format!("service {{\n name = \"s\"\n tags = [\"{tag}\"]\n}}\n driver ="));
    let d = job_diff(Some(&job(&with("a"))), &job(&with("b")));
    let task = &d.task_groups[0].tasks[0];
    assert_eq!(task.annotations, ["forces in-place update"]);
    let tags = &task.objects[0].objects[0];
    assert_eq!((task.objects[0].name.as_str(), tags.name.as_str(), tags.fields.len()), ("Service", "Tags", 2));
}

#[test]
fn a_removed_group() {
    let two =
        BASE.replace("group \"g\" {", "group \"h\" {\n task \"u\" {\n driver = \"docker\"\n }\n }\n group \"g\" {");
    let d = job_diff(Some(&job(&two)), &job(BASE));
    assert_eq!(d.task_groups.len(), 1);
    assert_eq!((d.task_groups[0].name.as_str(), d.task_groups[0].kind), ("h", DiffKind::Deleted));
}
