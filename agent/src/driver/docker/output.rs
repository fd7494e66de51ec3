//! A container's output into the task's rotated files, going on where an earlier agent stopped.
//!
//! The engine keeps the output and stamps every line; the last stamp written is kept in a small file beside the
//! journal. A killed agent repeats at most the lines of its last moment.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tracing::debug;

use super::engine::{Engine, status};
use crate::driver::{LogTarget, shim::logs::Rotator};

/// How often the place is written down.
const REMEMBER_EVERY: Duration = Duration::from_millis(100);
/// How long the last output of an ended container is waited for.
const LAST_WORDS: Duration = Duration::from_secs(3);
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The followers of every container of this agent.
#[derive(Debug)]
pub struct Followers {
    dir: PathBuf,
    running: Arc<Mutex<HashMap<String, JoinHandle<()>>>>,
}

impl Followers {
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, running: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, JoinHandle<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Begin, unless it is followed already.
    pub fn follow(&self, engine: Engine, id: String, target: LogTarget) {
        if target.disabled {
            return;
        }
        let mut running = self.lock();
        if running.get(&id).is_some_and(|t| !t.is_finished()) {
            return;
        }
        let follower = Follower { engine, id: id.clone(), place: self.place(&id), sinks: Sinks::new(target) };
        running.insert(id, tokio::spawn(follower.run()));
    }

    /// The container has ended: let its last words be written.
    pub async fn finish(&self, id: &str) {
        let task = self.lock().remove(id);
        if let Some(mut task) = task
            && tokio::time::timeout(LAST_WORDS, &mut task).await.is_err()
        {
            task.abort();
        }
    }

    /// The container is removed.
    pub fn forget(&self, id: &str) {
        // It may never have written anything.
        let _ = fs::remove_file(self.place(id));
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        for (_, task) in self.lock().drain() {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Sinks {
    out: Rotator,
    err: Rotator,
}

impl Sinks {
    fn new(target: LogTarget) -> Self {
        Self { out: Rotator::new(target.clone(), "stdout"), err: Rotator::new(target, "stderr") }
    }
}

struct Follower {
    engine: Engine,
    id: String,
    place: PathBuf,
    sinks: Sinks,
}

impl Follower {
    async fn run(mut self) {
        let mut last = Places::read(&self.place);
        loop {
            match self.stream(&mut last).await {
                Ok(()) => break,
                Err(e) if matches!(status(&e), Some(404 | 409)) => break,
                Err(e) => {
                    debug!(container = %self.id, error = %e, "output was cut off; going on");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
            if !self.still_runs().await {
                break;
            }
        }
        self.remember(&last);
    }

    async fn still_runs(&self) -> bool {
        let Ok(docker) = self.engine.get().await else { return true };
        match docker.inspect_container(&self.id, None).await {
            Ok(c) => c.state.and_then(|s| s.running).unwrap_or(false),
            Err(e) => status(&e).is_none(),
        }
    }

    /// Until the container ends or the engine hangs up.
    async fn stream(&mut self, last: &mut Places) -> Result<(), bollard::errors::Error> {
        let Ok(docker) = self.engine.get().await else {
            return Err(bollard::errors::Error::RequestTimeoutError);
        };
        let since = last.earlier().get(..19).and_then(epoch).and_then(|s| i32::try_from(s).ok()).unwrap_or(0);
        let how = LogsOptionsBuilder::default()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .tail("all")
            .build();
        let mut lines = docker.logs(&self.id, Some(how));
        let mut written = Instant::now();
        while let Some(item) = lines.next().await {
            let item = item?;
            let (sink, last_of, message) = match &item {
                LogOutput::StdErr { message } => (&mut self.sinks.err, &mut last.err, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                    (&mut self.sinks.out, &mut last.out, message)
                }
            };
            let (stamp, text) = split(message);
            if let Some(stamp) = stamp {
                if stamp <= last_of.as_str() {
                    continue;
                }
                stamp.clone_into(last_of);
            }
            sink.write(text);
            if written.elapsed() > REMEMBER_EVERY {
                self.remember(last);
                written = Instant::now();
            }
        }
        Ok(())
    }

    fn remember(&self, last: &Places) {
        let write = || {
            let fresh = self.place.with_extension("new");
            if let Some(dir) = self.place.parent() {
                fs::create_dir_all(dir)?;
            }
            fs::write(&fresh, format!("{}\n{}\n", last.out, last.err))?;
            fs::rename(fresh, &self.place)
        };
        if let Err(e) = write() {
            debug!(container = %self.id, error = %e, "the place in the output could not be written down");
        }
    }
}

/// The stamp of the last line written, of each stream: the engine mixes the two without keeping their order.
#[derive(Debug, Default)]
struct Places {
    out: String,
    err: String,
}

impl Places {
    fn read(file: &std::path::Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines().map(str::to_owned);
        Self { out: lines.next().unwrap_or_default(), err: lines.next().unwrap_or_default() }
    }

    /// Where reading goes on: nothing of either stream may be left out.
    fn earlier(&self) -> &str {
        self.out.as_str().min(self.err.as_str())
    }
}

/// A line's stamp (fixed width, so that it compares as text) and the line.
fn split(message: &[u8]) -> (Option<&str>, &[u8]) {
    let Some(at) = message.iter().position(|b| *b == b' ') else { return (None, message) };
    match std::str::from_utf8(&message[..at]) {
        Ok(stamp) if stamp.len() >= 20 && stamp.ends_with('Z') => (Some(stamp), &message[at + 1..]),
        _ => (None, message),
    }
}

/// `2026-11-22T13:40:59` as seconds since 1970.
fn epoch(stamp: &str) -> Option<i64> {
    let n = |from: usize, to: usize| stamp.get(from..to)?.parse::<i64>().ok();
    let (y, m, d) = (n(0, 4)?, n(5, 7)?, n(8, 10)?);
    let (h, min, s) = (n(11, 13)?, n(14, 16)?, n(17, 19)?);
    let (y, m) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + (153 * m + 2) / 5 + d - 1 - 719_468;
    Some(days * 86_400 + h * 3600 + min * 60 + s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let line = b"2026-11-22T13:40:59.123456789Z hello world\n";
        let (stamp, text) = split(line);
        assert_eq!(stamp, Some("2026-11-22T13:40:59.123456789Z"));
        assert_eq!(text, b"hello world\n");
        assert_eq!(epoch(&stamp.expect("a stamp")[..19]), Some(1_795_354_859));
        assert_eq!(split(b"no stamp here").0, None);
        assert_eq!(epoch("1970-01-01T00:00:00"), Some(0));
    }
}
