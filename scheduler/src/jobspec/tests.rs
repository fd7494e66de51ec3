//! Job files as people write them: forms, variables, mistakes, and real files from elsewhere.

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

/// The files in `jobs/`, and those they were made after, are jobs one may register.
#[test]
fn example_jobs_are_valid() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../jobs");
    let listed = |dir: PathBuf| fs::read_dir(dir).expect("jobs/ is there").filter_map(|e| e.ok().map(|e| e.path()));
    let mut files: Vec<_> = listed(own.clone()).chain(listed(own.join("docker"))).collect();
    files.retain(|f| f.extension().is_some_and(|x| x == "hcl"));
    assert!(files.len() >= 10, "{files:?}");
    files.extend(given("walkthrough").into_iter().flatten());
    for file in files {
        let job = read(&fs::read_to_string(&file).expect("readable"));
        if let Err(errors) = crate::validate::validate(&job) {
            panic!("{}: {errors:?}", file.display());
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

/// Real files: at least nine of ten parse, and each that does survives the round trip through JSON.
#[test]
fn real_job_files() {
    let Some(files) = given("jobspecs") else { return };
    let (mut good, mut syntax, mut bad, mut changed) = (0, 0, Vec::new(), Vec::new());
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(file).expect("readable");
        if hcl_edit::parser::parse_body(&text).is_err() {
            syntax += 1;
            continue;
        }
        let options = ParseOptions { file_name: name.clone(), variables: values_for(&text), ..ParseOptions::default() };
        match parse(&text, &options) {
            Ok(parsed) => {
                good += 1;
                let wire = crate::http::wire::job::to_json(&parsed.job);
                let back = crate::http::wire::job::from_json(&wire).unwrap_or_else(|e| panic!("{name}: {e}"));
                if !back.same_spec(&parsed.job) {
                    let inert = (&back.inert, &parsed.job.inert);
                    changed.push(format!("{name}: {:?}\n{inert:?}", crate::diff::job_diff(Some(&parsed.job), &back)));
                }
            }
            Err(e) => bad.push(e.to_string()),
        }
    }
    bad.iter().for_each(|e| println!("{e}\n"));
    let readable = good + bad.len();
    println!("{} files: {syntax} are not HCL2, {good} of the other {readable} parse", files.len());
    assert!(changed.is_empty(), "changed on their way through JSON:\n{}", changed.join("\n"));
    assert!(good * 10 >= readable * 9, "only {good} of {readable} parse");
}

/// Values for the variables a file declares without a default, as its author would give on the command line.
fn values_for(text: &str) -> Vec<(String, String)> {
    let Ok(body) = hcl_edit::parser::parse_body(text) else { return Vec::new() };
    let open = body.get_blocks("variable").filter(|b| !b.body.has_attribute("default"));
    let value = |b: &hcl_edit::structure::Block| {
        let kind = b.body.get_attribute("type").map(|a| a.value.to_string()).unwrap_or_default();
        match kind.trim() {
            "number" => "1",
            "bool" => "true",
            k if k.starts_with("list") || k.starts_with("set") => "[\"dc1\"]",
            k if k.starts_with("map") || k.starts_with("object") => "{}",
            _ => "value",
        }
    };
    open.map(|b| (b.labels[0].as_str().to_owned(), value(b).to_owned())).collect()
}

fn task_with(body: &str) -> String {
    format!("job \"x\" {{\n group \"g\" {{\n  task \"t\" {{\n   driver = \"docker\"\n{body}\n  }}\n }}\n}}\n")
}

#[test]
fn variables_and_locals() {
    let text = r#"
variable "n" {
  type    = number
  default = 1
}
variable "dcs" { type = list(string) }
variables {
  image = { name = "web", tag = "1" }
}
locals {
  full = "${local.name}:${var.image.tag}"
  name = var.image.name
}
job "x" {
  datacenters = var.dcs
  group "g" {
    count = var.n + 1
    task "t" {
      driver = "docker"
      config { image = local.full }
    }
  }
}"#;
    let options = |set: &[(&str, &str)]| ParseOptions {
        variables: set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..ParseOptions::default()
    };
    let job = parse(text, &options(&[("dcs", "[\"a\", \"b\"]"), ("n", "4")])).expect("parses").job;
    assert_eq!((job.datacenters.len(), job.groups[0].count), (2, 5));
    assert_eq!(job.groups[0].tasks[0].config.as_map().expect("map")["image"].as_str(), Some("web:1"));
    let refused = |set: &[(&str, &str)]| parse(text, &options(set)).expect_err("refused").to_string();
    assert!(refused(&[]).contains("the variable \"dcs\" has no value"));
    assert!(refused(&[("dcs", "[]"), ("m", "1")]).contains("does not declare. Did you mean \"n\"?"));
    assert!(refused(&[("dcs", "[]"), ("n", "many")]).contains("\"many\" is not a number"));
    let lenient = ParseOptions { strict: false, ..options(&[("dcs", "[]"), ("m", "1")]) };
    assert_eq!(parse(text, &lenient).expect("parses").warnings.len(), 1);
    let file = ParseOptions {
        variable_files: vec![("x.vars".into(), "dcs = [\"c\"]\nn = 7\n".into())],
        environment: [("n".to_owned(), "3".to_owned()), ("other".to_owned(), "x".to_owned())].into(),
        ..ParseOptions::default()
    };
    assert_eq!(parse(text, &file).expect("parses").job.groups[0].count, 8, "a file is stronger than the environment");
}

#[test]
fn circles_and_strangers() {
    let e = refuse("locals {\n a = local.b\n b = local.a\n}\njob \"x\" {\n region = local.a\n}\n");
    assert!(e.contains("refers to itself"), "{e}");
    let e = refuse("variable \"region\" { default = \"x\" }\njob \"x\" {\n region = var.regoin\n}\n");
    assert!(e.contains("Did you mean \"region\"?"), "{e}");
}

#[test]
fn validation_of_variables() {
    let text = "variable \"n\" {\n default = 3\n validation {\n  condition = var.n < 3\n  error_message = \"too many\"\n }\n}\njob \"x\" {}\n";
    let e = refuse(text);
    assert!(e.contains("job.hcl:4:15: too many"), "{e}");
}

#[test]
fn dynamic_blocks_are_unrolled() {
    let job = read(
        r#"
locals { ports = { http = 8080, admin = 9090 } }
job "x" {
  dynamic "group" {
    for_each = ["a", "b"]
    labels   = ["g-${group.value}"]
    content {
      network {
        dynamic "port" {
          for_each = local.ports
          iterator = p
          labels   = [p.key]
          content { to = p.value }
        }
      }
      task "t" { driver = "docker" }
    }
  }
}"#,
    );
    let names: Vec<_> = job.groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["g-a", "g-b"]);
    let ports: Vec<_> = job.groups[1].networks[0].ports.iter().map(|p| (p.label.as_str(), p.to)).collect();
    assert_eq!(ports, [("admin", 9090), ("http", 8080)]);
}

#[test]
fn heredocs_and_directives() {
    let job = read(&task_with(
        "env {\n A = <<-EOT\n    one\n      ${upper(\"two\")} ${NOMAD_TASK_DIR}\n    EOT\n B = \"%{ if true ~} yes %{ endif }\"\n}",
    ));
    let env = &job.groups[0].tasks[0].env;
    assert_eq!(env["A"], "one\n  TWO ${NOMAD_TASK_DIR}\n");
    assert_eq!(env["B"], "yes ");
}

#[test]
fn legacy_forms() {
    let job = read(
        r#"
job "x" {
  type = "batch"
  vault { policies = ["p"] }
  task "lone" {
    driver = "docker"
    env    = { A = 1 }
    config {
      image = "i"
      port_map { http = 80 }
    }
    resources {
      iops = 1
      network {
        mbits = 10
        port "http" {}
        port "adm" { static = 9000 }
      }
    }
    service {
      name = "${JOB}-${TASK}"
      port = "http"
    }
    constraint {
      distinct_hosts = true
    }
    constraint {
      attribute = "${attr.nomad.version}"
      version   = ">= 1.0"
    }
  }
}"#,
    );
    let g = &job.groups[0];
    let t = &g.tasks[0];
    assert_eq!((g.name.as_str(), g.count, t.name.as_str()), ("lone", 1, "lone"));
    assert_eq!(t.env["A"], "1");
    let network = t.resources.network.as_ref().expect("kept");
    assert_eq!((network.ports[0].fixed, network.ports[1].label.as_str()), (Some(9000), "http"));
    assert_eq!(t.services[0].name, "x-lone");
    assert_eq!(t.constraints[0].operator, model::job::Operator::DistinctHosts);
    assert_eq!((t.constraints[1].operator, t.constraints[1].value.as_str()), (model::job::Operator::Version, ">= 1.0"));
    assert_eq!((g.restart.attempts, g.reschedule.attempts, g.update.is_none()), (3, 1, true));
    assert!(
        job.inert.iter().any(|b| b.kind == "vault" && b.place == "group \"lone\" > task \"lone\""),
        "{:?}",
        job.inert
    );
}

#[test]
fn policies_are_laid_over_each_other() {
    let job = read(
        "job \"x\" {\n update {\n  max_parallel = 3\n  canary = 1\n }\n group \"g\" {\n  update {\n   max_parallel = 5\n  }\n  restart {\n   attempts = 9\n  }\n  task \"t\" {\n   driver = \"docker\"\n   restart {\n    delay = \"1s\"\n   }\n  }\n }\n}\n",
    );
    let g = &job.groups[0];
    let u = g.update.as_ref().expect("a service has one");
    assert_eq!((u.max_parallel, u.canary, u.progress_deadline), (5, 1, Duration::from_secs(600)));
    let own = g.tasks[0].restart.as_ref().expect("differs from the group's");
    assert_eq!((own.attempts, own.delay, own.interval), (9, Duration::from_secs(1), Duration::from_secs(1800)));
}

#[test]
fn durations_and_numbers_out_of_range() {
    assert!(refuse(&task_with("kill_timeout = \"5\"")).contains("has no unit; write \"5s\""));
    assert!(refuse(&task_with("kill_timeout = \"-5s\"")).contains("must not be negative"));
    assert_eq!(read(&task_with("kill_timeout = 1000000000")).groups[0].tasks[0].kill_timeout, Duration::from_secs(1));
    assert!(refuse("job \"x\" {\n group \"g\" {\n  count = -1\n }\n}\n").contains("must not be negative"));
    assert!(refuse("job \"x\" {\n group \"g\" {\n  count = 1.5\n }\n}\n").contains("must be a whole number"));
    assert!(refuse("job \"x\" {\n group \"g\" {\n  count = 1e309\n }\n}\n").contains("job.hcl:3"));
    assert!(refuse("job \"x\" {\n priority = 101\n}\n").contains("between 1 and 100"));
}

#[test]
fn nothing_is_defined_twice() {
    assert!(refuse("job \"x\" {\n region = \"a\"\n region = \"b\"\n}\n").contains("job.hcl:3"));
    assert!(refuse("job \"x\" {\n group \"g\" {}\n group \"g\" {}\n}\n").contains("group \"g\" is defined twice"));
    assert!(refuse("job \"x\" {}\njob \"y\" {}\n").contains("a job file holds one job"));
    assert!(refuse(&task_with("config {}\nconfig {}")).contains("\"config\" is set twice"));
    assert!(
        refuse("job \"x\" {\n group \"g\" {\n network {\n port \"a\" {}\n port \"a\" {}\n }\n }\n}\n")
            .contains("port \"a\" is defined twice")
    );
}

#[test]
fn shapes_of_blocks() {
    assert!(refuse("job \"x\" {\n group {}\n}\n").contains("this needs a name: group \"<name>\""));
    assert!(refuse("job \"x\" {\n update \"u\" {}\n}\n").contains("\"update\" takes no name"));
    assert!(refuse("job \"x\" {\n group = 1\n}\n").contains("is a block"));
    assert!(refuse("job \"x\" {\n region {}\n}\n").contains("is an attribute"));
    assert!(refuse("jbo \"x\" {}\n").contains("Did you mean \"job\"?"));
    assert!(refuse("job \"x\" {\n type = \"servcie\"\n}\n").contains("Did you mean \"service\"?"));
}

#[test]
fn hostile_input_is_refused_quickly() {
    for text in
        ["", " \n", "\u{feff}", "{", "job", "job \"x\" {", "job \"x\" {\n a = \"${\"\n}", "job \"x\" {\n a = <<EOF\n"]
    {
        assert!(parse(text, &ParseOptions::default()).is_err(), "{text:?}");
    }
    assert!(refuse("job \"x\u{0}\" {}").contains("NUL"));
    assert!(refuse(&"#".repeat(MAX_SOURCE + 1)).contains("larger than"));
    let deep = |open: &str, close: &str| task_with(&format!("user = {}1{}", open.repeat(10_000), close.repeat(10_000)));
    for text in [deep("(", ")"), deep("[", "]"), deep("!", ""), "a {\n".repeat(10_000)] {
        assert!(parse(&text, &ParseOptions::default()).is_err());
    }
    let loops = "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]]";
    assert!(refuse(&task_with(&format!("env {{\n A = jsonencode({loops})\n}}"))).contains("too much work"));
    let double =
        (1..40).map(|i| format!(" a{i} = \"${{local.a{}}}${{local.a{}}}\"\n", i - 1, i - 1)).collect::<String>();
    let bomb = format!("locals {{\n a0 = \"xxxxxxxxxx\"\n{double}}}\njob \"x\" {{\n region = local.a39\n}}\n");
    assert!(refuse(&bomb).contains("too much work"));
}

#[test]
fn files_are_read_below_the_job_only() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a.txt"), "hello").expect("written");
    let with = |expr: &str, files: bool| {
        let options = ParseOptions { files: files.then(|| dir.path().to_owned()), ..ParseOptions::default() };
        parse(&task_with(&format!("user = {expr}")), &options).map(|p| p.job.groups[0].tasks[0].user.clone())
    };
    assert_eq!(with("file(\"a.txt\")", true).expect("read"), "hello");
    assert_eq!(with("join(\",\", fileset(\".\", \"*.txt\"))", true).expect("listed"), "a.txt");
    let refused = |expr: &str, files| with(expr, files).expect_err("refused").message;
    assert!(refused("file(\"a.txt\")", false).contains("filesystem function disabled"));
    assert!(refused("file(\"/etc/hostname\")", true).contains("outside the job file's directory"));
    assert!(refused("file(\"b.txt\")", true).contains("cannot read b.txt"));
}

#[test]
fn json_bodies() {
    let job = read("{\"Job\": {\"ID\": \"x\", \"TaskGroups\": [{\"Name\": \"g\", \"Count\": 2}]}}");
    assert_eq!((job.id.as_str(), job.groups[0].count), ("x", 2));
    assert!(refuse("{\"Job\": {\"ID\": 5}}").contains("ID: expected a string, found a number"));
    let job = read(
        r#"{"job": {"x": {"type": "batch", "group": {"g": {"count": "2", "task": {"t": {
            "driver": "docker", "config": {"image": "${upper(\"i\")}-${NOMAD_DC}"}, "kill_timeout": "7s"}}}}}}}"#,
    );
    let task = &job.groups[0].tasks[0];
    assert_eq!((job.id.as_str(), job.groups[0].count, task.kill_timeout.as_secs()), ("x", 2, 7));
    assert_eq!(task.config.as_map().expect("map")["image"].as_str(), Some("I-${NOMAD_DC}"));
    assert!(refuse(r#"{"job": {"x": {"gruop": {}}}}"#).contains("Did you mean \"group\"?"));
    assert!(refuse("{\n \"Job\": }").contains("job.hcl:2:"));
}
