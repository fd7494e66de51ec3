//! Bad input gives one clear error that names what to do next; nothing else stops.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use tests::{
    eventually,
    process::{Agent, Setup},
};

use crate::{TRINE, echo_job};

fn agent(dir: &Path) -> Agent {
    Setup::new(TRINE, dir).start()
}

/// Run a command that must fail, and return what it said.
fn refused(agent: &Agent, args: &[&str]) -> String {
    let out = agent.setup.cli(args);
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_ne!(out.status.code(), Some(0), "{args:?} should fail: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn contains_all(said: &str, wanted: &[&str]) {
    for w in wanted {
        assert!(said.contains(w), "no {w:?} in: {said}");
    }
}

#[test]
fn job_files() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let agent = agent(dir.path());
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("the file can be written");
        path.to_string_lossy().into_owned()
    };
    contains_all(&refused(&agent, &["job", "run", "missing.hcl"]), &["missing.hcl"]);
    let broken = file("broken.hcl", "job \"x\" {\n  group \"g\" {\n");
    contains_all(&refused(&agent, &["job", "run", &broken]), &["broken.hcl:"]);
    let typo = file("typo.hcl", &echo_job(1, "x").replace("count = 1", "cuont = 1"));
    contains_all(&refused(&agent, &["job", "run", &typo]), &["typo.hcl:4", "cuont", "count"]);
    let driver = file("driver.hcl", &echo_job(1, "x").replace("\"raw_exec\"", "\"raw_exce\""));
    contains_all(&refused(&agent, &["job", "run", &driver]), &["raw_exce"]);
    let impossible = echo_job(1, "x").replace(
        "count = 1",
        "count = 1\n    constraint {\n      attribute = \"${attr.kernel.name}\"\n      value = \"plan9\"\n    }",
    );
    let impossible = file("impossible.hcl", &impossible);
    contains_all(&refused(&agent, &["job", "run", &impossible]), &["plan9", "failed to place"]);
    // Nothing else stopped.
    agent.ready();
}

#[test]
fn a_port_that_is_taken() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Below the ports the kernel hands out: those come and go, and count only once they stay.
    let holder = (10_000..20_000).find_map(|p| TcpListener::bind(("0.0.0.0", p)).ok()).expect("a free port");
    let port = holder.local_addr().expect("an address").port();
    let agent = agent(dir.path());
    let text =
        echo_job(1, "x").replace("port \"http\" {}", &format!("port \"http\" {{\n        static = {port}\n      }}"));
    let path = dir.path().join("taken.hcl");
    fs::write(&path, text).expect("the file can be written");
    let said = refused(&agent, &["job", "run", &path.to_string_lossy()]);
    contains_all(&said, &[&format!("port {port} "), "taken", "waiting for additional capacity"]);
    // Once it is free, the evaluation that waited for it goes on by itself.
    drop(holder);
    agent.wait_running("echo", 1, Duration::from_secs(30));
}

#[test]
fn a_failing_check_is_seen_and_not_routed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let agent = agent(dir.path());
    agent.run_job(
        &echo_job(1, "x").replace("\"/health\"", "\"/health\"\n        method = \"DELETE\"\n        port = \"1\""),
    );
    agent.wait_running("echo", 1, Duration::from_secs(30));
    eventually("the check is critical", Duration::from_secs(20), || {
        let all = agent.http.get(&agent.catalog_url("/v1/health/checks/echo")).and_then(|r| r.json())?;
        match all[0]["Status"].as_str() {
            Some("critical") if !all[0]["Output"].as_str().unwrap_or_default().is_empty() => Ok(()),
            _ => Err(all.to_string()),
        }
    });
    let reply = agent.http.get(&agent.lb_url("/echo")).expect("the load balancer answers");
    assert_eq!(reply.status, 503, "{reply:?}");
    contains_all(&reply.body, &["echo", "no instance that passes"]);
}

#[test]
fn the_agents_port_is_taken() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(TRINE, dir.path());
    let holder = TcpListener::bind(("127.0.0.1", setup.ports.http)).expect("the port was free");
    let (code, said) = setup.spawn().ends(Duration::from_secs(20));
    assert_eq!(code, Some(1), "{said}");
    contains_all(&said, &[&setup.ports.http.to_string(), "ports"]);
    drop(holder);
}

#[test]
fn a_corrupt_data_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(TRINE, dir.path());
    let mut agent = setup.start();
    agent.kill9();
    drop(agent);
    let log = dir.path().join("data/raft/log.redb");
    let length = fs::metadata(&log).expect("the log exists").len();
    fs::write(&log, vec![0x5a; usize::try_from(length).expect("a small file")]).expect("the log can be damaged");
    let (code, said) = setup.spawn().ends(Duration::from_secs(20));
    assert_eq!(code, Some(1), "{said}");
    contains_all(&said, &["log.redb"]);
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn docker_is_down() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut setup = Setup::new(TRINE, dir.path());
    setup.extra = "plugin \"docker\" {\n  config { endpoint = \"unix:///nonexistent/docker.sock\" }\n}".into();
    let agent = setup.start();
    let text = echo_job(1, "x")
        .replace("raw_exec", "docker")
        .replace("command = \"trine\"", "image = \"hashicorp/http-echo:latest\"");
    let path = dir.path().join("docker.hcl");
    fs::write(&path, text).expect("the file can be written");
    let said = refused(&agent, &["job", "run", &path.to_string_lossy()]);
    contains_all(&said, &["docker"]);
    agent.ready();
}

/// A small file system that fills up: the agent says so once and keeps answering reads.
#[test]
fn a_full_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    fs::create_dir_all(&data).expect("a directory");
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&data).output();
    match mounted {
        Ok(o) if o.status.success() => {}
        other => return tests::skip("mount", &format!("{other:?}")),
    }
    let setup = Setup::new(TRINE, dir.path());
    let mut agent = setup.start();
    fs::write(data.join("filler"), vec![1_u8; 1 << 20]).ok();
    let value = "x".repeat(400 * 1024);
    let failure = (0..400).find_map(|n| {
        let reply = agent.http.put(&agent.catalog_url(&format!("/v1/kv/fill/{n}")), &value).expect("the agent answers");
        (reply.status != 200).then_some(reply)
    });
    let failure = failure.expect("a full disk refuses a write");
    contains_all(&failure.body, &["log"]);
    let read = agent.http.get(&agent.catalog_url("/v1/kv/fill/0?raw")).expect("reads go on");
    assert_eq!((read.status, read.body.len()), (200, value.len()));
    agent.kill9();
    drop(agent);
    let out = std::process::Command::new("umount").arg("-l").arg(&data).output().expect("umount runs");
    assert!(out.status.success(), "{out:?}");
}

/// A job whose task cannot start gives up soon, and `job run` says why.
fn cannot_start(text: &str, wanted: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let agent = agent(dir.path());
    let impatient = "min_healthy_time = \"100ms\"\n      healthy_deadline = \"4s\"\n      progress_deadline = \"5s\"";
    let text = text.replace("min_healthy_time = \"100ms\"", impatient);
    let path = dir.path().join("job.hcl");
    fs::write(&path, text).expect("the file can be written");
    contains_all(&refused(&agent, &["job", "run", &path.to_string_lossy()]), wanted);
    agent.ready();
}

#[test]
fn a_command_that_is_missing() {
    let text = echo_job(1, "x").replace("command = \"trine\"", "command = \"no-such-command\"");
    cannot_start(&text, &["Driver Failure", "no-such-command", "trine alloc status"]);
}

#[test]
fn an_image_that_is_missing() {
    if let Err(why) = tests::docker::engine() {
        return tests::skip("docker", &why);
    }
    let text = echo_job(1, "x").replace("raw_exec", "docker").replace("command = \"trine\"", "image = \"no/such:1\"");
    cannot_start(&text, &["Driver Failure", "no/such:1", "could not be pulled", "trine alloc status"]);
}

#[test]
fn a_disk_that_is_full_from_the_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    fs::create_dir_all(&data).expect("a directory");
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&data).output();
    match mounted {
        Ok(o) if o.status.success() => {}
        other => return tests::skip("mount", &format!("{other:?}")),
    }
    let (code, said) = Setup::new(TRINE, dir.path()).spawn().ends(Duration::from_secs(20));
    let out = std::process::Command::new("umount").arg("-l").arg(&data).output().expect("umount runs");
    assert!(out.status.success(), "{out:?}");
    assert_eq!(code, Some(1), "{said}");
    contains_all(&said, &["No space left on device", &data.to_string_lossy()]);
    assert!(!said.contains("panicked"), "{said}");
}
