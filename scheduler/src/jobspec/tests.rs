use std::{fs, path::PathBuf, time::Duration};

use super::*;

fn read(text: &str) -> Job {
    match parse(text, &ParseOptions::default()) {
        Ok(p) => p.job,
        Err(e) => panic!("{e}\n{text}"),
    }
}

fn refuse(text: &str) -> String {
    parse(text, &ParseOptions::default()).expect_err("must be refused").to_string()
}

/// Files given to the project, beside the repository; `None` (and a note) where they are not.
fn given(folder: &str) -> Option<Vec<PathBuf>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(folder);
    let Ok(entries) = fs::read_dir(&dir) else {
        println!("skipped: {} is not here", dir.display());
        return None;
    };
    let mut files: Vec<_> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    files.retain(|f| f.extension().is_some_and(|x| x != "tsv"));
    files.sort();
    Some(files)
}

#[test]
fn the_five_walkthrough_files() {
    let Some(files) = given("walkthrough") else { return };
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let job = read(&text);
        assert_eq!(job.datacenters, ["dc1"], "{}", file.display());
        assert_eq!(job.groups[0].tasks[0].driver, "docker");
        if file.ends_with("echo-consul-fabio.hcl") {
            let update = job.groups[0].update.as_ref().expect("a service has an update policy");
            assert_eq!((update.canary, update.max_parallel), (1, 5));
            let service = &job.groups[0].tasks[0].services[0];
            assert_eq!(service.tags, ["urlprefix-/http-echo"]);
            assert_eq!(service.checks[0].interval, Duration::from_secs(2));
            let args = job.groups[0].tasks[0].config.as_map().and_then(|c| c.get("args"));
            assert!(format!("{args:?}").contains(":${NOMAD_PORT_http}"), "{args:?}");
        }
    }
}

#[test]
fn unknown_references_survive_as_text() {
    let job = read(
        r#"
variable "name" { default = "web" }
job "x" {
  group "g" {
    constraint {
      attribute = "${attr.kernel.name}"
      value     = attr.cpu.arch
    }
    task "t" {
      driver = "raw_exec"
      env {
        A = "${var.name}-${NOMAD_ALLOC_INDEX}"
        B = "${env["HOME"]}/${ meta.a-b.0 }"
        C = "$${literal} ${NOMAD_PORT_http}"
      }
    }
  }
}"#,
    );
    let g = &job.groups[0];
    assert_eq!(g.constraints[0].attribute, "${attr.kernel.name}");
    assert_eq!(g.constraints[0].value, "${attr.cpu.arch}");
    let env = &g.tasks[0].env;
    assert_eq!(env["A"], "web-${NOMAD_ALLOC_INDEX}");
    assert_eq!(env["B"], "${env[\"HOME\"]}/${meta.a-b.0}");
    assert_eq!(env["C"], "${literal} ${NOMAD_PORT_http}");
}

#[test]
fn mistakes_show_the_line_and_the_likely_name() {
    let e = refuse("job \"x\" {\n  group \"g\" {\n    conut = 3\n  }\n}\n");
    assert_eq!(
        e,
        "job.hcl:3:5: \"group\" has no attribute \"conut\". Did you mean \"count\"?\n   |\n 3 |     conut = 3\n   |     ^^^^^"
    );
    assert!(refuse("job \"x\" {\n  count = 3\n}\n").contains("it belongs into \"group\""));
    assert!(
        refuse("job \"x\" {\n  group \"g\" {\n    count = \"many\"\n  }\n}\n")
            .contains("3:13: \"count\" must be a whole number")
    );
}
