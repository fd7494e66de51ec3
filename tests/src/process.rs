//! One agent as a process: its own data directory, its own free ports, killed when dropped.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{eventually, http};

/// The ports of one agent.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub http: u16,
    pub rpc: u16,
    pub catalog: u16,
    pub dns: u16,
    pub lb: u16,
    pub lb_admin: u16,
}

impl Ports {
    /// Six ports that were free a moment ago, below the range of dynamic ports.
    pub fn free() -> Self {
        let held: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports")).collect();
        let port = |n: usize| held[n].local_addr().expect("a bound listener has an address").port();
        Self { http: port(0), rpc: port(1), catalog: port(2), dns: port(3), lb: port(4), lb_admin: port(5) }
    }
}

/// How an agent is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary under test.
    pub binary: PathBuf,
    pub dir: PathBuf,
    pub ports: Ports,
    /// Further lines of configuration.
    pub extra: String,
}

impl Setup {
    pub fn new(binary: &str, dir: &Path) -> Self {
        Self { binary: binary.into(), dir: dir.into(), ports: Ports::free(), extra: String::new() }
    }

    fn config(&self) -> String {
        let Ports { http, rpc, catalog, dns, lb, lb_admin } = self.ports;
        format!(
            "name = \"n1\"\ndata_dir = {:?}\nbind_addr = \"127.0.0.1\"\n\
             ports {{\n  http = {http}\n  rpc = {rpc}\n  catalog = {catalog}\n  dns = {dns}\n  lb = {lb}\n  lb_admin = {lb_admin}\n}}\n\
             server {{ enabled = true }}\nclient {{ enabled = true }}\ndiscovery {{ enabled = true }}\n\
             plugin \"raw_exec\" {{\n  config {{ enabled = true }}\n}}\n{}\n",
            self.dir.join("data"),
            self.extra
        )
    }

    /// Start the agent and wait until it leads and its node is ready.
    pub fn start(&self) -> Agent {
        let agent = self.spawn();
        agent.ready();
        agent
    }

    /// Start the agent; its talk goes to `agent.log` in the directory.
    pub fn spawn(&self) -> Agent {
        Agent { setup: self.clone(), child: self.child(), http: http::Client::default() }
    }

    fn child(&self) -> Child {
        fs::create_dir_all(&self.dir).expect("the test's directory can be made");
        let config = self.dir.join("agent.hcl");
        fs::write(&config, self.config()).expect("the configuration can be written");
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.dir.join("agent.log")).expect("the log opens");
        Command::new(&self.binary)
            .args(["agent", "-config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log)
            .spawn()
            .expect("the binary under test starts")
    }

    /// Run the command line against this agent.
    pub fn cli(&self, args: &[&str]) -> Output {
        Command::new(&self.binary)
            .args(args)
            .env("NOMAD_ADDR", format!("http://127.0.0.1:{}", self.ports.http))
            .env("CONSUL_HTTP_ADDR", format!("http://127.0.0.1:{}", self.ports.catalog))
            .env("TRINE_LB_ADDR", format!("http://127.0.0.1:{}", self.ports.lb_admin))
            .stdin(Stdio::null())
            .output()
            .expect("the binary under test runs")
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    pub setup: Setup,
    child: Child,
    pub http: http::Client,
}

impl Agent {
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.setup.ports.http)
    }

    pub fn catalog_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.setup.ports.catalog)
    }

    pub fn lb_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.setup.ports.lb)
    }

    /// A read of the scheduler API.
    pub fn api(&self, path: &str) -> Result<Value, String> {
        self.http.get(&self.url(path))?.json()
    }

    /// Wait until it leads and its node is ready.
    pub fn ready(&self) {
        eventually("agent ready", Duration::from_secs(30), || {
            let nodes = self.api("/v1/nodes").map_err(|e| format!("{e}\n{}", self.log_tail()))?;
            match nodes[0]["Status"].as_str() {
                Some("ready") => Ok(()),
                other => Err(format!("node is {other:?}\n{}", self.log_tail())),
            }
        });
    }

    /// The last lines it said.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.setup.dir.join("agent.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// SIGKILL, and wait until the process is gone.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the agent was running");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Start it again on what it left; its tasks are not touched.
    pub fn restart(&mut self) {
        self.child = self.setup.child();
        // Connections to the process that is gone are of no use.
        self.http = http::Client::default();
    }

    /// Ask it to stop and wait; the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid is an i32"));
        kill(pid, Signal::SIGTERM).expect("the agent was running");
        let mut child = std::mem::replace(&mut self.child, ended_child());
        let code = eventually("agent stops", Duration::from_secs(30), || match child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            other => Err(format!("{other:?}")),
        });
        self.child = child;
        code
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Wait for it to end by itself, and return the code and all it said.
    pub fn ends(&mut self, limit: Duration) -> (Option<i32>, String) {
        let child = &mut self.child;
        let code = eventually("agent ends", limit, || match child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            other => Err(format!("{other:?}")),
        });
        let mut text = String::new();
        fs::File::open(self.setup.dir.join("agent.log"))
            .and_then(|mut f| f.read_to_string(&mut text))
            .expect("the log reads");
        (code, text)
    }

    /// Register a job file through `PUT /v1/jobs`.
    pub fn run_job(&self, hcl: &str) -> Value {
        let parsed = self
            .http
            .put(&self.url("/v1/jobs/parse"), &serde_json::json!({ "JobHCL": hcl, "Canonicalize": true }).to_string())
            .and_then(|r| r.json())
            .expect("the job file parses");
        let body = serde_json::json!({ "Job": parsed }).to_string();
        self.http.put(&self.url("/v1/jobs"), &body).and_then(|r| r.json()).expect("the job is accepted")
    }

    /// Allocations of a job that are wanted and running.
    pub fn running(&self, job: &str) -> Result<Vec<Value>, String> {
        let all = self.api(&format!("/v1/job/{job}/allocations"))?;
        let all = all.as_array().ok_or("not a list")?;
        Ok(all.iter().filter(|a| a["DesiredStatus"] == "run" && a["ClientStatus"] == "running").cloned().collect())
    }

    /// Wait until exactly `count` allocations of a job run.
    pub fn wait_running(&self, job: &str, count: usize, limit: Duration) -> Vec<Value> {
        eventually(&format!("{count} allocations of {job} run"), limit, || {
            let running = self.running(job)?;
            if running.len() == count {
                Ok(running)
            } else {
                Err(format!("{} run\n{}", running.len(), self.log_tail()))
            }
        })
    }
}

/// A child that has ended already, to put where a real one was taken out.
fn ended_child() -> Child {
    Command::new("true").spawn().expect("`true` exists")
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        self.child.kill().ok();
        self.child.wait().ok();
        kill_leftovers(&self.setup.dir);
    }
}

/// End every process whose environment or arguments name the test's directory: tasks outlive their agent by design.
fn kill_leftovers(dir: &Path) {
    let needle = dir.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        if pid == i32::try_from(std::process::id()).unwrap_or(0) {
            continue;
        }
        let told =
            |file: &str| fs::read(entry.path().join(file)).is_ok_and(|b| String::from_utf8_lossy(&b).contains(&needle));
        if told("cmdline") || told("environ") {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
    }
}
