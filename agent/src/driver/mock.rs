//! The `mock_driver`: a task that is nothing but a timer, for tests. Always compiled, on only in dev and test agents.
//!
//! It keeps its tasks in memory: they do not outlive the agent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use model::{driver_config::Value, node::DriverInfo};
use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::{Detail, Driver, Error, Exit, Handle, LogTarget, TaskKey, TaskSpec, Usage, fields::Fields, shim::logs};

pub const NAME: &str = "mock_driver";

/// What a mock task does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Script {
    /// Forever when unset.
    run_for: Option<Duration>,
    exit_code: i32,
    exit_signal: i32,
    start_error: Option<String>,
    start_error_recoverable: bool,
    start_block_for: Duration,
    /// How long it takes to end after a signal; forever (until killed) when `ignore_signals`.
    kill_after: Duration,
    ignore_signals: bool,
    stdout: String,
    stderr: String,
}

impl Script {
    fn read(config: &Value) -> Result<Self, Error> {
        let mut f = Fields::new("mock_driver config", config)?;
        let mut span = |key| -> Result<Option<Duration>, Error> {
            f.text(key)?
                .map(|t| {
                    duration(&t)
                        .ok_or_else(|| Error::Config(format!("mock_driver config: {key} = {t:?} is not a duration")))
                })
                .transpose()
        };
        let run_for = span("run_for")?;
        let start_block_for = span("start_block_for")?.unwrap_or_default();
        let kill_after = span("kill_after")?.unwrap_or_default();
        let number = |n: Option<i64>| i32::try_from(n.unwrap_or(0)).unwrap_or(i32::MAX);
        let script = Self {
            run_for,
            exit_code: number(f.number("exit_code")?),
            exit_signal: number(f.number("exit_signal")?),
            start_error: f.text("start_error")?,
            start_error_recoverable: f.flag("start_error_recoverable")?,
            start_block_for,
            kill_after,
            ignore_signals: f.flag("ignore_signals")?,
            stdout: f.text("stdout_string")?.unwrap_or_default(),
            stderr: f.text("stderr_string")?.unwrap_or_default(),
        };
        f.finish()?;
        Ok(script)
    }
}

fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let n: f64 = text[..at].parse().ok()?;
    let unit = match &text[at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(n * unit).ok()
}

#[derive(Debug)]
struct Running {
    run: u64,
    script: Script,
    exit: watch::Sender<Option<Exit>>,
}

impl Running {
    fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|e| {
            let first = e.is_none();
            e.get_or_insert(exit);
            first
        });
    }
}

#[derive(Debug)]
pub struct Mock {
    enabled: bool,
    tasks: Mutex<HashMap<TaskKey, Arc<Running>>>,
}

impl Mock {
    #[must_use]
    pub fn new(enabled: bool) -> Arc<Self> {
        Arc::new(Self { enabled, tasks: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskKey, Arc<Running>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, handle: &Handle) -> Result<Arc<Running>, Error> {
        self.lock()
            .get(&handle.key)
            .filter(|r| r.run == handle.run)
            .cloned()
            .ok_or_else(|| Error::Gone(handle.key.clone()))
    }
}

#[async_trait]
impl Driver for Mock {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn fingerprint(&self) -> DriverInfo {
        let description = if self.enabled { "Healthy" } else { "disabled" };
        let attributes =
            if self.enabled { [("driver.mock_driver".to_owned(), "1".to_owned())].into() } else { Default::default() };
        DriverInfo {
            detected: self.enabled,
            healthy: self.enabled,
            description: description.into(),
            attributes,
            ..DriverInfo::default()
        }
    }

    fn validate(&self, config: &Value) -> Result<(), Error> {
        Script::read(config).map(drop)
    }

    async fn start(&self, spec: &TaskSpec) -> Result<Handle, Error> {
        if !self.enabled {
            return Err(Error::Config("the mock_driver is disabled: it exists for tests".into()));
        }
        let script = Script::read(&spec.config)?;
        tokio::time::sleep(script.start_block_for).await;
        if let Some(message) = script.start_error {
            return Err(Error::Start { message, retry: script.start_error_recoverable });
        }
        for (stream, text) in [("stdout", &script.stdout), ("stderr", &script.stderr)] {
            if !text.is_empty() {
                logs::Rotator::new(LogTarget::of(spec), stream).write(text.as_bytes());
            }
        }
        let running = Arc::new(Running { run: spec.run, script, exit: watch::Sender::new(None) });
        if let Some(life) = running.script.run_for {
            let timer = Arc::clone(&running);
            tokio::spawn(async move {
                tokio::time::sleep(life).await;
                let (code, signal) = (timer.script.exit_code, timer.script.exit_signal);
                timer.end(Exit { code, signal, ..Exit::default() });
            });
        }
        self.lock().insert(spec.key.clone(), running);
        Ok(Handle { key: spec.key.clone(), run: spec.run, detail: Detail::Mock })
    }

    async fn find(&self, key: &TaskKey, run: Option<u64>) -> Result<Option<Handle>, Error> {
        Ok(self.lock().get(key).filter(|r| run.is_none_or(|run| run == r.run)).map(|r| Handle {
            key: key.clone(),
            run: r.run,
            detail: Detail::Mock,
        }))
    }

    async fn recover(&self, handle: &Handle) -> Result<(), Error> {
        self.get(handle).map(drop)
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, Error> {
        let Ok(task) = self.get(handle) else {
            let lost = Some("exit status unknown: mock tasks end with their agent".to_owned());
            return Ok(Exit { code: -1, lost, ..Exit::default() });
        };
        let mut exit = task.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await.map_err(|_| Error::Gone(handle.key.clone()))?;
        Ok(ended.clone().unwrap_or_default())
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<(), Error> {
        let task = self.get(handle)?;
        if !task.script.ignore_signals {
            let number = signal as i32;
            tokio::spawn(async move {
                tokio::time::sleep(task.script.kill_after).await;
                task.end(Exit { code: 128 + number, signal: number, ..Exit::default() });
            });
        }
        Ok(())
    }

    async fn kill(&self, handle: &Handle) -> Result<(), Error> {
        if let Ok(task) = self.get(handle) {
            task.end(Exit { code: 137, signal: 9, ..Exit::default() });
        }
        Ok(())
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), Error> {
        self.lock().remove(&handle.key);
        Ok(())
    }

    async fn usage(&self, handle: &Handle) -> Result<Usage, Error> {
        self.get(handle).map(|_| Usage { pids: 1, ..Usage::default() })
    }

    async fn exec(&self, handle: &Handle, command: &[String], _: Duration) -> Result<(i32, String), Error> {
        self.get(handle)?;
        Ok((0, command.join(" ")))
    }

    async fn survivors(&self) -> Result<Vec<Handle>, Error> {
        let live = self.lock();
        Ok(live
            .iter()
            .filter(|(_, r)| r.exit.borrow().is_none())
            .map(|(k, r)| Handle { key: k.clone(), run: r.run, detail: Detail::Mock })
            .collect())
    }
}
