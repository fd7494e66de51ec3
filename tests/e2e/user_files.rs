//! The user's five job files, unchanged, on a Docker engine: through the command line and through `PUT /v1/jobs`.

use std::{fs, path::Path, time::Duration};

use tests::{
    docker, eventually,
    process::{Agent, Setup},
    shared, skip,
};

use crate::TRINE;

const IMAGES: [&str; 2] = ["hashicorp/http-echo:latest", "fabiolb/fabio:latest"];

/// How a file is submitted.
type Submit = fn(&Agent, &Path);

fn by_command_line(agent: &Agent, file: &Path) {
    let out = agent.setup.cli(&["job", "run", "-detach", &file.to_string_lossy()]);
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

fn by_api(agent: &Agent, file: &Path) {
    agent.run_job(&fs::read_to_string(file).expect("the file reads"));
}

fn answers(agent: &Agent, url: &str, wanted: &str) {
    eventually(&format!("{url} says {wanted:?}"), Duration::from_secs(40), || {
        let reply = agent.http.get(url)?;
        if reply.status == 200 && reply.body.contains(wanted) {
            Ok(())
        } else {
            Err(format!("{reply:?}\n{}", agent.log_tail()))
        }
    });
}

fn promote(agent: &Agent) {
    let deployment = eventually("a healthy canary", Duration::from_secs(60), || {
        let d = agent.api("/v1/job/http-echo/deployment")?;
        let healthy = d["TaskGroups"]["echo"]["HealthyAllocs"].as_u64().unwrap_or(0);
        let canaries = d["TaskGroups"]["echo"]["DesiredCanaries"].as_u64().unwrap_or(0);
        if canaries == 1 && healthy >= 1 { Ok(d) } else { Err(format!("{d}\n{}", agent.log_tail())) }
    });
    let id = deployment["ID"].as_str().expect("a deployment has an id").to_owned();
    let body = serde_json::json!({ "DeploymentID": id, "All": true }).to_string();
    let reply = agent.http.put(&agent.url(&format!("/v1/deployment/promote/{id}")), &body).expect("promotion answers");
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// The walkthrough as the user wrote it.
fn walk(submit: Submit) {
    let folder = match shared::folder("walkthrough") {
        Ok(folder) => folder,
        Err(why) => return skip("shared", &why),
    };
    if let Err(why) = docker::engine() {
        return skip("docker", &why);
    }
    for image in IMAGES {
        docker::build_image(&shared::root(), TRINE.as_ref(), image);
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut setup = Setup::new(TRINE, dir.path());
    // The user runs the load balancer as a job: the agent leaves 9999 to it. It looks for its agent at the usual place.
    setup.extra = "lb { enabled = false }".into();
    setup.ports.rpc = 4647;
    let agent = setup.start();
    let file = |name: &str| folder.join(name);

    submit(&agent, &file("echo-simple.hcl"));
    answers(&agent, "http://127.0.0.1:8080/", "running on port 8080");
    submit(&agent, &file("echo-scaled-up-dynamic.hcl"));
    agent.wait_running("http-echo", 5, Duration::from_secs(60));
    submit(&agent, &file("echo-scaled-up-dynamic-consul.hcl"));
    eventually("five healthy instances", Duration::from_secs(60), || {
        let found =
            agent.http.get(&agent.catalog_url("/v1/health/service/http-echo?passing")).and_then(|r| r.json())?;
        let count = found.as_array().map_or(0, Vec::len);
        if count == 5 { Ok(()) } else { Err(format!("{count}\n{}", agent.log_tail())) }
    });
    submit(&agent, &file("fabio.hcl"));
    answers(&agent, "http://127.0.0.1:9999/http-echo", "Hello and welcome to");
    submit(&agent, &file("echo-consul-fabio.hcl"));
    promote(&agent);
    eventually("every instance is new", Duration::from_secs(120), || {
        let running = agent.running("http-echo")?;
        let newest = running.iter().filter_map(|a| a["JobVersion"].as_u64()).max().unwrap_or(0);
        let old = running.iter().filter(|a| a["JobVersion"].as_u64() != Some(newest)).count();
        if running.len() == 5 && old == 0 { Ok(()) } else { Err(format!("{} run, {old} old", running.len())) }
    });
    answers(&agent, "http://127.0.0.1:9999/http-echo", "Update successful!");
    for job in ["http-echo", "fabio"] {
        agent.http.delete(&agent.url(&format!("/v1/job/{job}?purge=true"))).expect("stopping answers");
    }
    eventually("containers are gone", Duration::from_secs(60), || {
        let left = agent.api("/v1/allocations")?;
        let live = left.as_array().map_or(0, |l| l.iter().filter(|a| a["ClientStatus"] == "running").count());
        if live == 0 { Ok(()) } else { Err(format!("{live} still run")) }
    });
    drop(agent);
    docker::remove_leftovers();
}

/// Both ways in one test: they share the fixed ports 8080, 9998 and 9999.
#[test]
fn run_unchanged() {
    walk(by_command_line);
    walk(by_api);
}
