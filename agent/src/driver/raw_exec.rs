//! The `raw_exec` driver: a command on the host, without isolation, but with nothing left behind.
//!
//! Every task runs under a shim ([`super::shim`]) in its own process group and control group. The agent may be killed
//! at any moment; the next one finds the shim by its run directory. Off by default: it is root's shell for whoever may
//! submit jobs.

use std::{
    fs,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use model::{TaskName, driver_config::Value, node::DriverInfo};
use nix::{
    sys::{
        signal::{Signal, kill, killpg},
        stat::Mode,
    },
    unistd::{Pid, User, mkfifo},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    process::Command,
};
use tracing::{debug, warn};

use super::{
    Detail, Driver, Error, Exit, Handle, LogTarget, TaskKey, TaskSpec, Usage,
    cgroup::Group,
    process,
    shim::{self, Failed, RunSpec, Started, file},
};

mod command;
mod exec;

pub use command::{CommandConfig, resolve};

pub const NAME: &str = "raw_exec";
/// How long a shim may take from its spawn to its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long an unconfirmed run of an earlier agent is given to show up.
const SHOW_UP_WITHIN: Duration = Duration::from_secs(5);

/// How the shim is started.
#[derive(Clone, Debug)]
pub struct ShimCommand {
    pub program: PathBuf,
    /// Before the run directory.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Default for ShimCommand {
    /// This very binary, even when its file was replaced by an upgrade.
    fn default() -> Self {
        Self { program: "/proc/self/exe".into(), args: vec![shim::SUBCOMMAND.into()], env: Vec::new() }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub enabled: bool,
    /// Run directories live here, outside the allocation directories that tasks may write.
    pub runs_dir: PathBuf,
    pub shim: ShimCommand,
}

#[derive(Debug)]
pub struct RawExec {
    config: Config,
}

impl RawExec {
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self { config })
    }

    fn task_dir(&self, key: &TaskKey) -> PathBuf {
        self.config.runs_dir.join(key.alloc.to_string()).join(key.task.as_str())
    }

    fn run_dir(&self, key: &TaskKey, run: u64) -> PathBuf {
        self.task_dir(key).join(run.to_string())
    }

    /// The run directory with its spec and FIFO, ready for a shim.
    fn prepare(&self, spec: &TaskSpec) -> Result<PathBuf, Error> {
        let config = CommandConfig::read(&spec.config)?;
        let program = resolve(&config.command, &spec.dirs, spec.env.get("PATH").map(String::as_str))?;
        let cwd = match &config.work_dir {
            None => spec.dirs.task.clone(),
            Some(dir) if Path::new(dir).is_absolute() => PathBuf::from(dir),
            Some(dir) => {
                return Err(Error::Config(format!("raw_exec config: work_dir must be an absolute path, not {dir:?}")));
            }
        };
        let run = RunSpec {
            program,
            args: config.args,
            env: spec.env.iter().filter(|(k, _)| !config.denied_env.contains(k.as_str())).map(pair).collect(),
            cwd,
            ids: ids(&spec.user)?,
            logs: LogTarget::of(spec),
            group: Group::of(&spec.key),
            shims: Group::shims(),
        };
        let dir = self.run_dir(&spec.key, spec.run);
        let failed = || Error::io(format!("prepare the run directory {}", dir.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed())?;
        shim::write_whole(&dir, file::SPEC, &run).map_err(failed())?;
        mkfifo(&dir.join(file::ALIVE), Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| failed()(e.into()))?;
        run.group.create().map_err(failed())?;
        run.group.share_cpu(spec.given.cpu_mhz);
        Ok(dir)
    }

    async fn launch(&self, dir: &Path) -> Result<Started, Error> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(file::LOG))
            .map_err(Error::io("open the shim's log"))?;
        let mut command = std::process::Command::new(&self.config.shim.program);
        command
            .arg0("trine")
            .args(&self.config.shim.args)
            .arg(dir)
            .env_clear()
            .envs(self.config.shim.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = Command::from(command).spawn().map_err(Error::io("start the task shim"))?;
        let out = child.stdout.take();
        tokio::spawn(async move {
            // Only to reap it; the status file tells how the task ended.
            let _ = child.wait().await;
        });
        let Some(out) = out else { return Err(start_failed("the task shim has no output", true)) };
        match tokio::time::timeout(ANSWER_WITHIN, read_answer(out)).await {
            Ok(Some(Ok(started))) => Ok(started),
            Ok(Some(Err(failed))) => Err(start_failed(failed.message, false)),
            // No answer: believe the files, as a later agent would.
            Ok(None) | Err(_) => match self.settle(dir).await? {
                Some(started) => Ok(started),
                None => Err(start_failed(format!("the task shim ended before the task began: {}", tail(dir)), true)),
            },
        }
    }

    /// What became of a run directory: waits until that is certain, and makes it certain.
    async fn settle(&self, dir: &Path) -> Result<Option<Started>, Error> {
        let looking = || Error::io(format!("look at {}", dir.display()));
        if !dir.exists() || shim::claim(dir).map_err(looking())? {
            return Ok(None);
        }
        let deadline = tokio::time::Instant::now() + SHOW_UP_WITHIN;
        loop {
            let gone = !held(dir);
            if let Some(started) = shim::read::<Started>(dir, file::STARTED).map_err(looking())? {
                return Ok(Some(started));
            }
            if gone || dir.join(file::FAILED).exists() || tokio::time::Instant::now() > deadline {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// End what is left of a task, with or without its shim.
    async fn sweep(&self, key: &TaskKey) {
        let key = key.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let group = Group::of(&key);
            group.kill();
            for s in process::marked(&key) {
                warn!(task = %key, pid = s.pid, "ending a process of a task that nobody watches");
                process::end(&s);
            }
            group.remove();
        });
        if let Err(e) = swept.await {
            warn!(error = %e, "sweeping up a task's processes failed");
        }
    }

    fn runs_of(&self, key: &TaskKey) -> Vec<u64> {
        let Ok(dir) = fs::read_dir(self.task_dir(key)) else { return Vec::new() };
        let mut runs: Vec<u64> = dir.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        runs.sort_unstable();
        runs
    }

    fn handle(&self, key: &TaskKey, run: u64, started: &Started) -> Handle {
        let detail = Detail::Process { dir: self.run_dir(key, run), pid: started.pid, start: started.start };
        Handle { key: key.clone(), run, detail }
    }
}

fn pair((k, v): (&String, &String)) -> (String, String) {
    (k.clone(), v.clone())
}

fn start_failed(message: impl Into<String>, retry: bool) -> Error {
    Error::Start { message: message.into(), retry }
}

fn ids(user: &str) -> Result<Option<(u32, u32)>, Error> {
    if user.is_empty() {
        return Ok(None);
    }
    match User::from_name(user) {
        Ok(Some(u)) => Ok(Some((u.uid.as_raw(), u.gid.as_raw()))),
        Ok(None) => Err(Error::Config(format!("user {user:?} does not exist on this node"))),
        Err(e) => Err(Error::Config(format!("cannot look up user {user:?}: {e}"))),
    }
}

/// The shim's one line; other lines (a test harness's) are skipped.
async fn read_answer(out: tokio::process::ChildStdout) -> Option<Result<Started, Failed>> {
    let mut lines = BufReader::new(out.take(64 * 1024)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some(from) = line.find('{') else { continue };
        if let Ok(started) = serde_json::from_str(&line[from..]) {
            return Some(Ok(started));
        }
        if let Ok(failed) = serde_json::from_str(&line[from..]) {
            return Some(Err(failed));
        }
    }
    None
}

/// Somebody holds the FIFO open: the shim lives.
fn held(dir: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    // Opening the writing end without waiting fails when there is no reader; the shim reads and writes.
    let flags = nix::libc::O_NONBLOCK;
    fs::OpenOptions::new().write(true).custom_flags(flags).open(dir.join(file::ALIVE)).is_ok()
}

fn tail(dir: &Path) -> String {
    let text = fs::read_to_string(dir.join(file::LOG)).unwrap_or_default();
    text.lines().last().unwrap_or("its log is empty").chars().take(200).collect()
}

fn parts(handle: &Handle) -> Result<(&Path, i32, u64), Error> {
    match &handle.detail {
        Detail::Process { dir, pid, start } => Ok((dir, *pid, *start)),
        _ => Err(Error::Gone(handle.key.clone())),
    }
}

#[async_trait]
impl Driver for RawExec {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn fingerprint(&self) -> DriverInfo {
        let description = if self.config.enabled { "Healthy" } else { "disabled" };
        DriverInfo {
            detected: self.config.enabled,
            healthy: self.config.enabled,
            description: description.into(),
            attributes: if self.config.enabled {
                [("driver.raw_exec".to_owned(), "1".to_owned())].into()
            } else {
                Default::default()
            },
            ..DriverInfo::default()
        }
    }

    fn validate(&self, config: &Value) -> Result<(), Error> {
        CommandConfig::read(config).map(drop)
    }

    async fn start(&self, spec: &TaskSpec) -> Result<Handle, Error> {
        if !self.config.enabled {
            return Err(Error::Config(
                "the raw_exec driver is disabled on this node; set client { raw_exec { enabled = true } } to allow it"
                    .into(),
            ));
        }
        let dir = self.prepare(spec)?;
        match self.launch(&dir).await {
            Ok(started) => Ok(self.handle(&spec.key, spec.run, &started)),
            Err(e) => {
                self.sweep(&spec.key).await;
                if let Err(e) = fs::remove_dir_all(&dir) {
                    debug!(dir = %dir.display(), error = %e, "run directory stays");
                }
                Err(e)
            }
        }
    }

    async fn find(&self, key: &TaskKey, run: Option<u64>) -> Result<Option<Handle>, Error> {
        let runs = run.map_or_else(|| self.runs_of(key), |r| vec![r]);
        for run in runs.into_iter().rev() {
            let dir = self.run_dir(key, run);
            if let Some(started) = self.settle(&dir).await? {
                return Ok(Some(self.handle(key, run, &started)));
            }
            let _ = fs::remove_dir_all(&dir);
        }
        self.sweep(key).await;
        Ok(None)
    }

    async fn recover(&self, handle: &Handle) -> Result<(), Error> {
        parts(handle).map(drop)
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, Error> {
        let (dir, ..) = parts(handle)?;
        let reading = || Error::io(format!("read the exit status of {}", handle.key));
        if dir.join(file::ALIVE).exists() {
            let mut fifo =
                pipe::OpenOptions::new().open_receiver(dir.join(file::ALIVE)).map_err(Error::io("watch the shim"))?;
            // A pipe that never had a writer since it was opened does not report its end: be one for a moment.
            let _ = held(dir);
            let mut byte = [0; 16];
            // Nobody writes; the end of the file is the end of the shim.
            while matches!(fifo.read(&mut byte).await, Ok(n) if n > 0) {}
        }
        if let Some(exit) = shim::read::<Exit>(dir, file::EXIT).map_err(reading())? {
            return Ok(exit);
        }
        let rebooted =
            shim::read::<Started>(dir, file::STARTED).map_err(reading())?.is_none_or(|s| s.boot != process::boot_id());
        if !rebooted {
            self.sweep(&handle.key).await;
        }
        let why = if rebooted { "the machine was restarted" } else { "the task's shim was killed" };
        Ok(Exit { code: -1, lost: Some(format!("exit status unknown: {why}")), ..Exit::default() })
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<(), Error> {
        let (_, pid, start) = parts(handle)?;
        if !process::alive(pid, start) {
            return Err(Error::Gone(handle.key.clone()));
        }
        kill(Pid::from_raw(pid), signal).map_err(|_| Error::Gone(handle.key.clone()))
    }

    async fn kill(&self, handle: &Handle) -> Result<(), Error> {
        let (_, pid, start) = parts(handle)?;
        if process::alive(pid, start) {
            // The shim ends what survives this; the group is for when there is no shim any more.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let group = Group::of(&handle.key);
        let emptied = tokio::task::spawn_blocking(move || group.kill()).await.unwrap_or(false);
        if emptied {
            Ok(())
        } else {
            Err(Error::Unavailable(format!("processes of {} do not die (stuck in the kernel?)", handle.key)))
        }
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), Error> {
        let (dir, ..) = parts(handle)?;
        Group::of(&handle.key).remove();
        match fs::remove_dir_all(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("remove {}", dir.display()))(e));
            }
            _ => {}
        }
        // The parents go with their last run.
        let _ = fs::remove_dir(self.task_dir(&handle.key));
        let _ = fs::remove_dir(self.config.runs_dir.join(handle.key.alloc.to_string()));
        Ok(())
    }

    async fn usage(&self, handle: &Handle) -> Result<Usage, Error> {
        let (_, pid, start) = parts(handle)?;
        if !process::alive(pid, start) {
            return Err(Error::Gone(handle.key.clone()));
        }
        let group = Group::of(&handle.key);
        let mut family: Vec<_> = group.pids().into_iter().filter_map(process::stat).collect();
        if family.is_empty() {
            family = process::descendants(pid);
            family.extend(process::stat(pid));
        }
        let rss = family.iter().map(|s| s.rss_bytes).sum();
        let (memory, cpu) = group.memory_and_cpu();
        Ok(Usage {
            cpu_ns: cpu.unwrap_or_else(|| family.iter().map(|s| s.cpu_ns).sum()),
            memory_bytes: memory.unwrap_or(rss),
            rss_bytes: rss,
            pids: u32::try_from(family.len()).unwrap_or(u32::MAX),
        })
    }

    async fn exec(&self, handle: &Handle, command: &[String], timeout: Duration) -> Result<(i32, String), Error> {
        let (dir, pid, start) = parts(handle)?;
        if !process::alive(pid, start) {
            return Err(Error::Gone(handle.key.clone()));
        }
        let spec: RunSpec = shim::read(dir, file::SPEC)
            .map_err(Error::io("read the task's environment"))?
            .ok_or_else(|| Error::Gone(handle.key.clone()))?;
        exec::run(&spec, command, timeout).await
    }

    async fn survivors(&self) -> Result<Vec<Handle>, Error> {
        let mut found = Vec::new();
        let Ok(allocs) = fs::read_dir(&self.config.runs_dir) else { return Ok(found) };
        for (alloc, path) in allocs.flatten().filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path()))) {
            let Ok(tasks) = fs::read_dir(path) else { continue };
            for task in tasks.flatten().filter_map(|e| Some(TaskName::from(e.file_name().to_str()?))) {
                let key = TaskKey { alloc, task };
                for run in self.runs_of(&key) {
                    let dir = self.run_dir(&key, run);
                    if let Ok(Some(started)) = shim::read::<Started>(&dir, file::STARTED)
                        && held(&dir)
                    {
                        found.push(self.handle(&key, run, &started));
                    }
                }
            }
        }
        Ok(found)
    }
}
