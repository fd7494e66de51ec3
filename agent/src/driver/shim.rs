//! The shim: a small process between the agent and one task, so that either agent may die without the task noticing.
//!
//! Owns: starting the command in its own process group and cgroup, its output pipes and their rotated files, reaping
//! everything the task leaves behind, and the exit status on disk. Refuses to decide: it never restarts anything.
//!
//! The run directory is the whole interface. Files are written whole and renamed into place:
//! ```text
//!  spec.json     what to run                         agent, before the spawn
//!  alive         FIFO; held open while the shim lives: its end-of-file is the news that the task is over
//!  claim         created by whoever comes first: the shim (it will run) or a later agent (it must not run)
//!  started.json  pids and start times                shim, once the command runs
//!  failed.json   why it could not be run             shim
//!  exit.json     how it ended                        shim, last
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::{
        fs::OpenOptionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{Signal, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, setsid},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, LogTarget, cgroup::Group, process};

pub mod logs;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "task-shim";
/// How long output that is already in the pipes is collected after the task has ended.
const DRAIN: Duration = Duration::from_secs(2);
/// The largest control file that is read.
const CONTROL_MAX: u64 = 4 << 20;

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSpec {
    /// An absolute path.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// User and group ids, when not the agent's own.
    pub ids: Option<(u32, u32)>,
    pub logs: LogTarget,
    /// Empty where control groups cannot be written.
    pub group: Group,
    pub shims: Group,
}

/// The command runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub boot: String,
    pub shim: (i32, u64),
    pub pid: i32,
    /// Clock ticks after boot.
    pub start: u64,
}

/// The command could not be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub message: String,
}

/// Names inside a run directory.
pub mod file {
    pub const SPEC: &str = "spec.json";
    pub const ALIVE: &str = "alive";
    pub const CLAIM: &str = "claim";
    pub const STARTED: &str = "started.json";
    pub const FAILED: &str = "failed.json";
    pub const EXIT: &str = "exit.json";
    pub const LOG: &str = "shim.log";
}

/// Write a control file whole or not at all; readable by its owner only, since specs hold environments.
pub fn write_whole<T: Serialize>(dir: &Path, name: &str, value: &T) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut f = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    f.write_all(&serde_json::to_vec(value)?)?;
    f.sync_data()?;
    fs::rename(temporary, dir.join(name))
}

/// Read a control file; `None` when it is not there.
pub fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    let path = dir.join(name);
    match fs::metadata(&path) {
        Ok(m) if m.len() > CONTROL_MAX => return Err(io::Error::other(format!("{} is too large", path.display()))),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    }
    Ok(Some(serde_json::from_slice(&fs::read(path)?)?))
}

/// Be the one who decides about a run directory; `false` when somebody was first.
pub fn claim(dir: &Path) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(file::CLAIM)) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// `trine task-shim <run directory>`. Started by the agent only; says on stdout, in one line, what became of the start.
#[must_use]
pub fn main(args: &[String]) -> ExitCode {
    let [dir] = args else {
        let _ = writeln!(io::stderr(), "usage: trine {SUBCOMMAND} <run directory> (started by the agent, not by hand)");
        return ExitCode::from(2);
    };
    match run(Path::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "task shim of {dir}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path) -> io::Result<()> {
    detach()?;
    let _alive = OpenOptions::new().read(true).write(true).open(dir.join(file::ALIVE))?;
    if !claim(dir)? {
        return Err(io::Error::other("the run was given up before it began"));
    }
    let spec: RunSpec =
        read(dir, file::SPEC)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "spec.json is missing"))?;
    let mut child = match spawn(&spec) {
        Ok(child) => child,
        Err(message) => {
            let failed = Failed { message };
            write_whole(dir, file::FAILED, &failed)?;
            answer(&failed);
            return Ok(());
        }
    };
    let (done, drained) = mpsc::channel::<()>();
    pump(child.stdout.take(), &spec.logs, "stdout", done.clone());
    pump(child.stderr.take(), &spec.logs, "stderr", done);
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let me = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let start_of = |pid| process::stat(pid).map_or(0, |s| s.start);
    let started = Started { boot: process::boot_id(), shim: (me, start_of(me)), pid, start: start_of(pid) };
    if let Err(e) = write_whole(dir, file::STARTED, &started) {
        // Nobody could find this task again.
        end_the_rest(pid, &spec.group);
        return Err(e);
    }
    answer(&started);
    let exit = reap(pid)?;
    end_the_rest(pid, &spec.group);
    // Both pumps hang up when their pipe does; a stray that escaped with the pipe in hand costs the limit at most.
    let _ = drained.recv_timeout(DRAIN);
    write_whole(dir, file::EXIT, &exit)
}

/// Leave the agent's session, adopt orphans, and do not be stopped by signals meant for the agent.
fn detach() -> io::Result<()> {
    // Already a leader when started by hand from a shell; nothing is lost then.
    let _ = setsid();
    prctl::set_child_subreaper(true)?;
    // Handlers, not masks: an agent started in the background may have inherited "ignore", which would pass on to the
    // task and make it deaf to its stop signal. A handled signal is the default again in the command.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::child(),
    ] {
        // The handler stays when its receiver goes.
        drop(signal(kind)?);
    }
    std::env::set_current_dir("/")
}

fn spawn(spec: &RunSpec) -> Result<Child, String> {
    let me = std::process::id();
    let grouped = !spec.group.is_none() && spec.group.create().and_then(|()| spec.group.add(me)).is_ok();
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(&spec.env).current_dir(&spec.cwd).process_group(0).stdin(Stdio::null());
    if spec.logs.disabled {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    } else {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    if let Some((uid, gid)) = spec.ids {
        command.uid(uid).gid(gid);
    }
    let child = command.spawn();
    if !spec.shims.is_none() {
        // The task's group is emptied by force one day; the shim must not be in it then.
        let left = spec.shims.create().and_then(|()| spec.shims.add(me));
        if let (Err(e), true) = (left, grouped) {
            if let Ok(mut c) = child {
                let _ = c.kill();
            }
            return Err(format!("cannot leave the task's control group: {e}"));
        }
    }
    child.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!(
            "cannot run {}: not found, or its interpreter or work directory {} is not there",
            spec.program.display(),
            spec.cwd.display()
        ),
        io::ErrorKind::PermissionDenied => {
            format!("cannot run {}: permission denied (is it executable?)", spec.program.display())
        }
        _ => format!("cannot run {}: {e}", spec.program.display()),
    })
}

/// One line on stdout for an agent that may be gone by now.
fn answer<T: Serialize>(news: &T) {
    if let Ok(line) = serde_json::to_string(news) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
    // The agent reads to the end of the pipe: give it one.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
}

fn pump<R: io::Read + Send + 'static>(
    from: Option<R>,
    target: &LogTarget,
    stream: &'static str,
    done: mpsc::Sender<()>,
) {
    let Some(mut from) = from else { return };
    let target = target.clone();
    thread::spawn(move || {
        let mut sink = logs::Rotator::new(target, stream);
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => sink.write(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        drop(done);
    });
}

/// Wait for the command, taking in every orphan that is handed to us meanwhile.
fn reap(main: i32) -> io::Result<Exit> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == main => {
                return Ok(Exit { code, ..Exit::default() });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == main => {
                let signal = signal as i32;
                return Ok(Exit { code: 128 + signal, signal, ..Exit::default() });
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whatever the command left running goes with it.
fn end_the_rest(main: i32, group: &Group) {
    let _ = killpg(Pid::from_raw(main), Signal::SIGKILL);
    group.kill();
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let deadline = Instant::now() + DRAIN;
    loop {
        for s in process::descendants(me) {
            process::end(&s);
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => break,
            Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(2)),
            _ => {}
        }
        if Instant::now() > deadline {
            break;
        }
    }
    group.remove();
}

/// A status as the standard library reports it.
#[must_use]
pub fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit { code, ..Exit::default() },
        (None, Some(signal)) => Exit { code: 128 + signal, signal, ..Exit::default() },
        (None, None) => Exit { lost: Some("no exit status".into()), ..Exit::default() },
    }
}

#[cfg(test)]
pub mod tests {
    //! The test binary plays the shim: it runs itself with one "test" selected, which is the shim's main.

    use crate::driver::raw_exec::ShimCommand;

    const MARK: &str = "TRINE_TEST_SHIM";

    /// A shim command that works inside unit tests.
    #[must_use]
    pub fn command() -> ShimCommand {
        ShimCommand {
            program: "/proc/self/exe".into(),
            args: vec!["--exact".into(), "driver::shim::tests::play_the_shim".into(), "--nocapture".into()],
            env: vec![(MARK.into(), "1".into())],
        }
    }

    #[test]
    fn play_the_shim() {
        if std::env::var(MARK).is_err() {
            return;
        }
        let dir: Vec<String> =
            std::env::args().filter(|a| a.starts_with('/')).skip_while(|a| a == "/proc/self/exe").collect();
        let dir: Vec<String> = dir.into_iter().last().into_iter().collect();
        let _ = super::main(&dir);
        std::process::exit(0);
    }
}
