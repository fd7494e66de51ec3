//! What registration refuses, and in which words.

use super::*;
use crate::jobspec::{ParseOptions, parse};

fn check(body: &str) -> Result<Vec<String>, Vec<String>> {
    let text = format!("job \"x\" {{\n{body}\n}}\n");
    let job = parse(&text, &ParseOptions::default()).unwrap_or_else(|e| panic!("{e}\n{text}")).job;
    validate(&job)
}

fn task(more: &str) -> String {
    format!("group \"g\" {{\ntask \"t\" {{\ndriver = \"raw_exec\"\nconfig {{\n command = \"x\"\n}}\n{more}\n}}\n}}")
}

fn group(more: &str) -> String {
    format!("group \"g\" {{\n{more}\ntask \"t\" {{\ndriver = \"raw_exec\"\nconfig {{\n command = \"x\"\n}}\n}}\n}}")
}

#[track_caller]
fn refused(body: &str, with: &str) {
    let errors = check(body).expect_err(with);
    assert!(errors.iter().any(|e| e.contains(with)), "wanted {with:?}, got {errors:?}");
}

#[test]
fn a_plain_job_is_fine() {
    assert_eq!(check(&task("")), Ok(Vec::new()));
}

#[test]
fn drivers() {
    refused("group \"g\" {\ntask \"t\" {\ndriver = \"dokcer\"\n}\n}", "Did you mean \"docker\"?");
    refused("group \"g\" {\ntask \"t\" {\ndriver = \"exec\"\n}\n}", "use raw_exec or docker");
    refused(
        "group \"g\" {\ntask \"t\" {\ndriver = \"docker\"\nconfig {\nimgae = \"x\"\n}\n}\n}",
        "does not know \"imgae\". Did you mean \"image\"?",
    );
    refused("group \"g\" {\ntask \"t\" {\ndriver = \"docker\"\n}\n}", "needs \"image\"");
}

#[test]
fn several_mistakes_are_told_at_once() {
    let errors = check("group \"g\" {\ntask \"alloc\" {\ndriver = \"raw_exec\"\nresources {\nmemory = 1\n}\n}\n}")
        .expect_err("refused");
    assert!(errors.len() >= 3, "{errors:?}");
}

#[test]
fn services_and_checks() {
    let service = |s: &str| task(&format!("service {{\n{s}\n}}"));
    refused(&service("name = \"a_b\""), "becomes a DNS name");
    assert_eq!(check(&service("name = \"a-${NOMAD_JOB_NAME}\"")), Ok(Vec::new()));
    refused(&service("port = \"http\""), "there is no port \"http\"");
    let check = "check {\ntype = \"http\"\ninterval = \"100ms\"\ntimeout = \"1s\"\n}";
    refused(&service(check), "\"interval\" must be at least 1s, not 100ms");
    refused(&service(check), "needs a \"port\"");
    refused(&service(check), "needs a \"path\"");
}

#[test]
fn policies() {
    refused(&group("update {\nauto_promote = true\n}"), "\"auto_promote\" needs \"canary\"");
    refused(&group("update {\nhealthy_deadline = \"5s\"\n}"), "\"min_healthy_time\"");
    refused(&group("restart {\nattempts = 10\ndelay = \"1m\"\ninterval = \"5m\"\n}"), "longer than the interval");
    assert!(check(&group("count = 1\nupdate {\nmax_parallel = 2\n}")).is_ok_and(|w| w.len() == 1));
}

#[test]
fn system_jobs_have_no_count() {
    refused(&format!("type = \"system\"\n{}", group("count = 2")), "a system job runs once on every node");
}

#[test]
fn blocks_nobody_acts_on() {
    refused(
        &task("template {\ndata = \"x\"\ndestination = \"local/x\"\n}"),
        "group \"g\" > task \"t\": \"template\" is not supported yet",
    );
    refused(&task("vault {}"), "\"vault\" is not supported yet");
    assert!(check(&task("consul {}")).is_ok_and(|w| w[0].contains("\"consul\" is ignored")));
}

#[test]
fn ports() {
    refused(
        &group("network {\nport \"a\" { static = 80 }\nport \"b\" { static = 80 }\n}"),
        "both want the static port 80",
    );
    refused(&group("network {\nmode = \"bridge\"\n}"), "shares the host's network");
}
