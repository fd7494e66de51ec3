//! Health checks: run a probe now and then, and say when its verdict changes.
//!
//! Owns the loop, the timing and the probes (http, tcp, script, grpc). Refuses to keep state: the verdict lives in the
//! catalog, thresholds are the pure [`verdict::Tally`]. TTL checks are not probed; whoever holds them reports.
//!
//! ```text
//!  probe ─► Tally::count ─► verdict changed? ─► Report ─► the owner proposes it
//! ```

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use model::{CheckId, catalog::CheckDefinition, check::Verdict, service::Probe};
use rand::RngExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

mod grpc;
mod http;
mod script;
mod tcp;
#[cfg(test)]
mod tests;
pub mod verdict;

use verdict::Tally;

/// Bytes of a probe's output that are kept.
pub const OUTPUT_MAX: usize = 4096;
/// Interval of a definition that has none.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// Time limit of network probes without one.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of scripts without one.
pub const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest pause between two probes, whatever the definition says.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// The first pause after a failed probe of a check that never passed; doubles up to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A verdict that changed, or the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub check: CheckId,
    pub verdict: Verdict,
    /// At most [`OUTPUT_MAX`] bytes.
    pub output: String,
}

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    pub output: String,
}

impl Finding {
    fn new(verdict: Verdict, output: impl Into<String>) -> Self {
        Self { verdict, output: clip(output.into()) }
    }

    fn critical(output: impl Into<String>) -> Self {
        Self::new(Verdict::Critical, output)
    }
}

/// Runs the commands of script checks where they belong: inside the task, or on the host.
pub trait ScriptRunner: Send + Sync + 'static {
    /// Exit code and output; an error is the reason why the command could not run or did not end in time.
    fn run(&self, command: &str, args: &[String], timeout: Duration) -> BoxFuture<'_, Result<(i32, String), String>>;
}

/// A place where no scripts run; every script check is critical and says why.
#[derive(Clone, Debug)]
pub struct NoScripts(pub String);

impl ScriptRunner for NoScripts {
    fn run(&self, _: &str, _: &[String], _: Duration) -> BoxFuture<'_, Result<(i32, String), String>> {
        let why = self.0.clone();
        Box::pin(async move { Err(why) })
    }
}

/// Probe until cancelled, or until nobody listens to `out`.
///
/// `initial` is the verdict the catalog has now. The first probe is made at once and its result always reported;
/// afterwards only changes are. While a check has never passed it is tried again sooner than its interval, so that an
/// instance joins as soon as it can serve.
pub async fn run(
    id: CheckId,
    definition: CheckDefinition,
    initial: Verdict,
    scripts: Arc<dyn ScriptRunner>,
    out: mpsc::Sender<Report>,
    cancel: CancellationToken,
) {
    let task = probe_forever(&id, &definition, initial, scripts.as_ref(), &out);
    tokio::select! {
        () = cancel.cancelled() => {}
        () = task => {}
    }
    debug!(check = %id, "check ended");
}

async fn probe_forever(
    id: &CheckId,
    definition: &CheckDefinition,
    initial: Verdict,
    scripts: &dyn ScriptRunner,
    out: &mpsc::Sender<Report>,
) {
    if matches!(definition.probe, Probe::Ttl { .. }) {
        // Its verdict is whatever was reported last; there is nothing to ask.
        return std::future::pending().await;
    }
    let mut tally = Tally::new(definition, initial);
    let mut pace = Pace::new(definition.interval, initial);
    let mut reported = None;
    let mut next = Instant::now();
    loop {
        tokio::time::sleep_until(next).await;
        let started = Instant::now();
        let finding = probe(definition, scripts).await;
        let verdict = tally.count(finding.verdict);
        if reported != Some(verdict) {
            info!(check = %id, %verdict, output = %first_line(&finding.output), "check verdict");
            let report = Report { check: id.clone(), verdict, output: finding.output };
            if out.send(report).await.is_err() {
                return;
            }
            reported = Some(verdict);
        }
        let jitter = rand::rng().random_range(-0.03..0.03);
        // From the start of this probe, so that slow answers do not stretch the interval; never in the past.
        next = (started + pace.next(finding.verdict, verdict, jitter)).max(Instant::now() + SHORTEST_PAUSE);
    }
}

/// One probe, bounded by its time limit.
pub async fn probe(definition: &CheckDefinition, scripts: &dyn ScriptRunner) -> Finding {
    let limit = match (&definition.probe, definition.timeout.is_zero()) {
        (_, false) => definition.timeout,
        (Probe::Script { .. }, true) => SCRIPT_TIMEOUT,
        (_, true) => DEFAULT_TIMEOUT,
    };
    let work = async {
        match &definition.probe {
            Probe::Http { .. } => http::probe(definition).await,
            Probe::Tcp => tcp::probe(&definition.target).await,
            Probe::Script { command, args } => script::probe(command, args, limit, scripts).await,
            Probe::Grpc { service, tls } => grpc::probe(&definition.target, service, *tls).await,
            Probe::Ttl { .. } => Finding::critical("a TTL check is not probed; report it through the API"),
        }
    };
    match tokio::time::timeout(limit, work).await {
        Ok(finding) => finding,
        Err(_) => Finding::critical(format!("{}: no answer within {limit:?}", describe(definition))),
    }
}

fn describe(definition: &CheckDefinition) -> String {
    match &definition.probe {
        Probe::Http { method, .. } => {
            format!("HTTP {} {}", if method.is_empty() { "GET" } else { method }, definition.target)
        }
        Probe::Script { command, .. } => format!("script {command}"),
        other => format!("{} {}", other.kind().to_uppercase(), definition.target),
    }
}

/// When to probe next.
struct Pace {
    interval: Duration,
    /// `Some` while the check never passed: the next pause after a failure.
    joining: Option<Duration>,
}

impl Pace {
    fn new(interval: Duration, initial: Verdict) -> Self {
        let interval = if interval.is_zero() { DEFAULT_INTERVAL } else { interval.max(SHORTEST_PAUSE) };
        Self { interval, joining: (initial != Verdict::Passing).then_some(FIRST_PAUSE) }
    }

    /// The pause after a probe. `found` is its result, `verdict` what the thresholds made of it.
    fn next(&mut self, found: Verdict, verdict: Verdict, jitter: f64) -> Duration {
        if verdict == Verdict::Passing {
            self.joining = None;
        }
        match &mut self.joining {
            // Successes on the way to a threshold are counted at the interval, or the threshold would mean nothing.
            Some(pause) if found == Verdict::Critical => {
                let now = (*pause).min(self.interval);
                *pause = (now * 2).min(self.interval);
                now
            }
            _ => self.interval.mul_f64(1.0 + jitter),
        }
    }
}

/// The first [`OUTPUT_MAX`] bytes, cut between characters.
fn clip(mut text: String) -> String {
    if text.len() > OUTPUT_MAX {
        let end = (0..=OUTPUT_MAX).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
