//! The page at `/ui` in a real browser: every view shows what runs, and no script fails.

use std::{path::Path, process::Command, time::Duration};

use tests::{eventually, process::Setup, say, skip};

use crate::{TRINE, echo_job};

/// Where screenshots go when somebody wants to look at them.
const SHOTS: &str = "TRINE_SCREENSHOTS";

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|b| Command::new(b).arg("--version").output().is_ok_and(|o| o.status.success()))
}

/// Run the browser on one page; `what` is `--dump-dom` or `--screenshot=FILE`.
fn visit(browser: &str, profile: &Path, url: &str, what: &[&str]) -> Result<String, String> {
    let out = Command::new("timeout")
        .args(["60", browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--window-size=1280,900", "--virtual-time-budget=4000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(what)
        .arg(url)
        .output()
        .map_err(|e| e.to_string())?;
    let talk = String::from_utf8_lossy(&out.stderr);
    let failures: Vec<_> =
        talk.lines().filter(|l| l.contains("CONSOLE") && (l.contains("Error") || l.contains("Refused"))).collect();
    if failures.is_empty() { Ok(String::from_utf8_lossy(&out.stdout).into_owned()) } else { Err(failures.join("\n")) }
}

#[test]
fn every_view_shows_what_runs() {
    let Some(browser) = browser() else { return skip("chromium", "no chromium on the PATH") };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let profile = tempfile::tempdir().expect("a temporary directory");
    let agent = Setup::new(TRINE, dir.path()).start();
    agent.run_job(&echo_job(5, "hello"));
    let alloc = agent.wait_running("echo", 5, Duration::from_secs(30))[0]["ID"].as_str().expect("an id").to_owned();
    let node = agent.api("/v1/nodes").expect("nodes")[0]["ID"].as_str().expect("an id").to_owned();
    eventually("the route is up", Duration::from_secs(10), || {
        agent.http.get(&agent.lb_url("/echo")).and_then(|r| if r.status == 200 { Ok(()) } else { Err(r.body) })
    });
    let views = [
        ("jobs", "#/jobs".to_owned(), vec!["echo", "running"]),
        ("job", "#/job/echo".to_owned(), vec!["echo.echo[0]", "Latest deployment"]),
        ("allocation", format!("#/allocation/{alloc}"), vec!["Task server", "Started", "Logs"]),
        ("nodes", "#/nodes".to_owned(), vec!["n1", "raw_exec"]),
        ("node", format!("#/node/{node}"), vec!["Memory given", "echo.echo[0]"]),
        ("services", "#/services".to_owned(), vec!["echo", "5 of 5"]),
        ("service", "#/service/echo".to_owned(), vec!["echo.service.consul", "passing"]),
        ("routes", "#/routes".to_owned(), vec!["/echo", "20.0 %"]),
    ];
    for (name, hash, wanted) in views {
        let url = agent.url(&format!("/ui/?still{hash}"));
        let dom = visit(browser, profile.path(), &url, &["--dump-dom"]).unwrap_or_else(|e| panic!("{name}: {e}"));
        for word in wanted {
            assert!(dom.contains(word), "{name}: no {word:?} in\n{dom}");
        }
        if let Ok(folder) = std::env::var(SHOTS) {
            let shot = format!("--screenshot={folder}/{name}.png");
            visit(browser, profile.path(), &url, &[&shot]).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    if let Ok(folder) = std::env::var(SHOTS) {
        let admin = format!("http://127.0.0.1:{}/", agent.setup.ports.lb_admin);
        visit(browser, profile.path(), &admin, &[&format!("--screenshot={folder}/admin.png")])
            .expect("the admin page shows");
        say(&format!("screenshots are in {folder}"));
    }
}
