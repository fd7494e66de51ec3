//! One suite for every driver: the same promises, asked of each.
//!
//! `raw_exec` and the mock always; `docker` when an engine answers, else the test says why it did not run.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use model::{AllocId, driver_config::Value, job::Logs, resource::NetworkMode};
use nix::sys::signal::Signal;
use uuid::Uuid;

use super::{Dirs, Dns, Driver, Error, Handle, TaskKey, TaskSpec, docker, mock, process, raw_exec, shim};

/// What a task is asked to do.
#[derive(Clone, Copy, Debug)]
enum Script {
    Exit(i32),
    /// `out $MARK` on stdout, `err` on stderr, then end.
    Print,
    Sleep,
    /// Ignores its stop signal and leaves a grandchild behind.
    Deaf,
}

/// Makes a driver that keeps its files under a directory.
type Make = Box<dyn Fn(&Path) -> Arc<dyn Driver>>;

/// A driver under test.
struct Subject {
    dir: tempfile::TempDir,
    make: Make,
    config: fn(Script) -> Value,
    /// Tasks are processes of their own: they outlive the driver's memory, print what they are told, run commands.
    real: bool,
}

fn map(pairs: &[(&str, Value)]) -> Value {
    Value::Map(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
}

fn text(s: &str) -> Value {
    Value::Str(s.into())
}

fn shell(script: Script) -> Vec<Value> {
    let line = match script {
        Script::Exit(code) => format!("exit {code}"),
        Script::Print => "echo out $MARK; echo err >&2".into(),
        Script::Sleep => "exec sleep 300".into(),
        Script::Deaf => "trap '' INT TERM; echo deaf; (sleep 301 &) ; while :; do sleep 0.1; done".into(),
    };
    vec![text("-c"), text(&line)]
}

fn raw_config(s: Script) -> Value {
    map(&[("command", text("/bin/sh")), ("args", Value::List(shell(s)))])
}

const IMAGE: &str = "trine-conformance:1";

fn docker_config(s: Script) -> Value {
    map(&[("image", text(IMAGE)), ("command", text("/bin/sh")), ("args", Value::List(shell(s)))])
}

fn mock_config(s: Script) -> Value {
    match s {
        Script::Exit(code) => map(&[("run_for", text("1ms")), ("exit_code", Value::Int(code.into()))]),
        Script::Print => {
            map(&[("run_for", text("1ms")), ("stdout_string", text("out mark\n")), ("stderr_string", text("err\n"))])
        }
        Script::Sleep => map(&[("run_for", text("300s"))]),
        Script::Deaf => map(&[("run_for", text("300s")), ("ignore_signals", Value::Bool(true))]),
    }
}

impl Subject {
    fn raw() -> Self {
        let make = |dir: &Path| {
            let config = raw_exec::Config { enabled: true, runs_dir: dir.join("runs"), shim: shim::tests::command() };
            raw_exec::RawExec::new(config) as Arc<dyn Driver>
        };
        Self::of(Box::new(make), raw_config, true)
    }

    fn mock() -> Self {
        Self::of(Box::new(|_| mock::Mock::new(true) as Arc<dyn Driver>), mock_config, false)
    }

    /// `None` with the reason printed when no engine answers.
    async fn docker() -> Option<Self> {
        let owner = Uuid::new_v4().to_string();
        let make = move |dir: &Path| {
            let config = docker::Config {
                endpoint: String::new(),
                volumes_enabled: false,
                allow_privileged: false,
                pull_timeout: Duration::from_secs(5),
                owner: owner.clone(),
                state_dir: dir.join("docker"),
            };
            docker::Docker::new(config) as Arc<dyn Driver>
        };
        let subject = Self::of(Box::new(make), docker_config, true);
        let info = subject.driver().fingerprint().await;
        if !info.healthy {
            println!("docker: not run: {}", info.description);
            return None;
        }
        if let Err(why) = import().await {
            println!("docker: not run: no image for the test: {why}");
            return None;
        }
        Some(subject)
    }

    fn of(make: Make, config: fn(Script) -> Value, real: bool) -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), make, config, real }
    }

    fn driver(&self) -> Arc<dyn Driver> {
        (self.make)(self.dir.path())
    }

    fn spec(&self, name: &str, script: Script) -> TaskSpec {
        let root = self.dir.path().join(name);
        let dirs = Dirs {
            shared: root.join("alloc"),
            task: root.join("t"),
            local: root.join("t/local"),
            secrets: root.join("t/secrets"),
            logs: root.join("alloc/logs"),
        };
        for d in [&dirs.logs, &dirs.local, &dirs.secrets] {
            std::fs::create_dir_all(d).expect("creates");
        }
        let key = TaskKey { alloc: AllocId(Uuid::new_v4()), task: "t".into() };
        let env = BTreeMap::from([
            ("MARK".to_owned(), "mark".to_owned()),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("NOMAD_ALLOC_ID".to_owned(), key.alloc.to_string()),
            ("NOMAD_TASK_NAME".to_owned(), "t".to_owned()),
        ]);
        TaskSpec {
            key,
            run: 1,
            config: (self.config)(script),
            env,
            user: String::new(),
            dirs,
            logs: Logs::default(),
            given: model::resource::GivenTask { cpu_mhz: 100, cores: 0, memory_mb: 64, memory_max_mb: 0 },
            ports: Vec::new(),
            network: NetworkMode::Host,
            dns: Dns::default(),
            mounts: Vec::new(),
        }
    }
}

/// An image made of this machine's shell: no registry is needed.
async fn import() -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| e.to_string();
    let engine = bollard::Docker::connect_with_unix(
        "unix:///var/run/docker.sock",
        60,
        &bollard::ClientVersion { major_version: 1, minor_version: 41 },
    )
    .map_err(|e| failed(&e))?;
    if engine.inspect_image(IMAGE).await.is_ok() {
        return Ok(());
    }
    let mut files = vec!["bin/sh".to_owned(), "bin/sleep".to_owned()];
    for program in ["/bin/sh", "/bin/sleep"] {
        let out = Command::new("ldd").arg(program).output().map_err(|e| failed(&e))?;
        let listed = String::from_utf8_lossy(&out.stdout).into_owned();
        files.extend(listed.split_whitespace().filter(|w| w.starts_with('/')).map(|w| w[1..].to_owned()));
    }
    files.sort();
    files.dedup();
    let tar = Command::new("tar").args(["-C", "/", "-ch"]).args(&files).output().map_err(|e| format!("tar: {e}"))?;
    let (name, tag) = IMAGE.split_once(':').expect("has a tag");
    let how = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag(tag).build();
    let body = bollard::body_full(tar.stdout.into());
    let mut news = engine.create_image(Some(how), Some(body), None);
    while let Some(item) = news.next().await {
        item.map_err(|e| failed(&e))?;
    }
    Ok(())
}

async fn within<T>(what: &str, f: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), f).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

async fn suite(s: &Subject) {
    ends_as_told(s).await;
    output_is_kept(s).await;
    signals_and_kills(s).await;
    found_again(s).await;
    commands_and_figures(s).await;
    refusals(s).await;
}

async fn over(d: &Arc<dyn Driver>, h: &Handle) {
    d.destroy(h).await.expect("is forgotten");
    assert_eq!(d.find(&h.key, None).await.expect("looks"), None, "nothing is left of {h:?}");
}

async fn ends_as_told(s: &Subject) {
    let d = s.driver();
    for code in [0, 3] {
        let spec = s.spec(&format!("exit{code}"), Script::Exit(code));
        let h = d.start(&spec).await.expect("starts");
        let exit = within("end", d.wait(&h)).await.expect("ends");
        assert_eq!((exit.code, exit.signal, exit.lost.clone()), (code, 0, None));
        assert_eq!(exit.success(), code == 0);
        assert_eq!(d.wait(&h).await.expect("ends again"), exit);
        over(&d, &h).await;
    }
}

async fn output_is_kept(s: &Subject) {
    let d = s.driver();
    let spec = s.spec("print", Script::Print);
    let h = d.start(&spec).await.expect("starts");
    within("end", d.wait(&h)).await.expect("ends");
    let read = |name: &str| std::fs::read_to_string(spec.dirs.logs.join(name)).unwrap_or_default();
    assert_eq!(read("t.stdout.0"), "out mark\n");
    assert_eq!(read("t.stderr.0"), "err\n");
    over(&d, &h).await;
}

async fn signals_and_kills(s: &Subject) {
    let d = s.driver();
    let h = d.start(&s.spec("sleep", Script::Sleep)).await.expect("starts");
    if s.real {
        // A container's first process ignores what it does not handle.
        d.signal(&h, Signal::SIGKILL).await.expect("is signalled");
    } else {
        d.signal(&h, Signal::SIGTERM).await.expect("is signalled");
    }
    assert!(!within("end", d.wait(&h)).await.expect("ends").success());
    over(&d, &h).await;

    let spec = s.spec("deaf", Script::Deaf);
    let h = d.start(&spec).await.expect("starts");
    if s.real {
        // A shell is deaf only once it has read that far.
        let said = spec.dirs.logs.join("t.stdout.0");
        let deaf = || std::fs::read_to_string(&said).is_ok_and(|t| t.contains("deaf"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !deaf() {
            assert!(Instant::now() < deadline, "the script did not begin");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    d.signal(&h, Signal::SIGTERM).await.expect("is signalled");
    let patience = tokio::time::timeout(Duration::from_millis(200), d.wait(&h)).await;
    assert!(patience.is_err(), "it is deaf");
    d.kill(&h).await.expect("is killed");
    let exit = within("end", d.wait(&h)).await.expect("ends");
    assert_eq!(exit.code, 137);
    over(&d, &h).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !process::marked(&spec.key).is_empty() {
        assert!(Instant::now() < deadline, "grandchildren are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    d.kill(&h).await.expect("killing the dead is fine");
}

async fn found_again(s: &Subject) {
    if !s.real {
        return;
    }
    let spec = s.spec("again", Script::Sleep);
    let h = s.driver().start(&spec).await.expect("starts");
    // The next agent: another driver, which knows nothing.
    let d = s.driver();
    assert_eq!(d.survivors().await.expect("lists"), std::slice::from_ref(&h));
    assert_eq!(d.find(&spec.key, Some(1)).await.expect("looks"), Some(h.clone()));
    assert_eq!(d.find(&spec.key, None).await.expect("looks"), Some(h.clone()));
    d.recover(&h).await.expect("goes on");
    d.kill(&h).await.expect("is killed");
    assert!(!within("end", d.wait(&h)).await.expect("ends").success());
    over(&d, &h).await;
    let never = s.spec("never", Script::Sleep);
    assert_eq!(d.find(&never.key, Some(1)).await.expect("looks"), None);
    assert_eq!(d.survivors().await.expect("lists"), []);
}

async fn commands_and_figures(s: &Subject) {
    let d = s.driver();
    let h = d.start(&s.spec("exec", Script::Sleep)).await.expect("starts");
    if s.real {
        let run = |line: &str| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        let limit = Duration::from_secs(10);
        let (code, text) = d.exec(&h, &run("echo $MARK; exit 2"), limit).await.expect("runs");
        assert_eq!((code, text.as_str()), (2, "mark\n"));
        let slow = d.exec(&h, &run("sleep 60"), Duration::from_millis(100)).await;
        assert!(slow.expect_err("takes too long").to_string().contains("did not end within"));
        let usage = d.usage(&h).await.expect("measures");
        assert!(usage.memory_bytes > 0 && usage.pids > 0, "{usage:?}");
    }
    d.kill(&h).await.expect("is killed");
    within("end", d.wait(&h)).await.expect("ends");
    assert!(d.signal(&h, Signal::SIGTERM).await.is_err() || !s.real);
    over(&d, &h).await;
}

async fn refusals(s: &Subject) {
    let d = s.driver();
    let mut spec = s.spec("bad", Script::Sleep);
    if let Value::Map(m) = &mut spec.config {
        m.insert("no_such_key".into(), Value::Bool(true));
    }
    assert!(d.validate(&spec.config).is_err());
    let e = d.start(&spec).await.expect_err("refused");
    assert!(matches!(e, Error::Config(_)) && e.to_string().contains("no_such_key"), "{e}");
    assert_eq!(d.find(&spec.key, None).await.expect("looks"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_exec_keeps_its_promises() {
    suite(&Subject::raw()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mock_keeps_its_promises() {
    suite(&Subject::mock()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_its_promises() {
    if let Some(s) = Subject::docker().await {
        suite(&s).await;
        missing_image(&s).await;
    }
}

async fn missing_image(s: &Subject) {
    let d = s.driver();
    let mut spec = s.spec("missing", Script::Sleep);
    spec.config = map(&[("image", text("localhost:1/no-such-image:1"))]);
    let e = d.start(&spec).await.expect_err("is not there");
    assert!(e.to_string().contains("not on this node and could not be pulled"), "{e}");
    assert!(e.retryable());
}
