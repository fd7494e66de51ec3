//! Reports to the servers: the newest word on every allocation, many in one proposal, repeated until accepted.
//!
//! One proposal is in flight at a time, so reports of one allocation never overtake each other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{AllocId, Command, ProposeError, Replica, alloc::AllocReport};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::clock;

/// How long reports gather after a proposal; the first after a quiet time goes out at once.
const WINDOW: Duration = Duration::from_millis(12);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The most reports in one proposal.
const BATCH: usize = 512;

#[derive(Debug, Default)]
struct Waiting {
    /// With the ticket of the newest change.
    reports: BTreeMap<AllocId, (u64, AllocReport)>,
    last: u64,
}

/// Where runners leave their reports.
#[derive(Debug)]
pub struct Reporter {
    waiting: Mutex<Waiting>,
    bell: Notify,
    /// Every ticket up to this one was accepted.
    accepted: watch::Sender<u64>,
}

impl Reporter {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), bell: Notify::new(), accepted: watch::Sender::new(0) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave a report; it replaces an earlier one of the same allocation that is not under way yet.
    pub fn submit(&self, report: AllocReport) -> u64 {
        let ticket = {
            let mut w = self.lock();
            w.last += 1;
            let ticket = w.last;
            w.reports.insert(report.id, (ticket, report));
            ticket
        };
        self.bell.notify_one();
        ticket
    }

    /// Until the servers have accepted a report (or a newer one).
    pub async fn accepted(&self, ticket: u64) {
        // The sender lives as long as `self`.
        let _ = self.accepted.subscribe().wait_for(|t| *t >= ticket).await;
    }

    /// Send until cancelled; what is left then goes out in one last attempt.
    pub async fn run(&self, replica: &dyn Replica, cancel: CancellationToken) {
        let mut quiet_since = tokio::time::Instant::now() - WINDOW;
        loop {
            tokio::select! {
                () = self.bell.notified() => {}
                () = cancel.cancelled() => break,
            }
            let ready = quiet_since + WINDOW;
            tokio::select! {
                () = tokio::time::sleep_until(ready) => {}
                () = cancel.cancelled() => break,
            }
            if !self.send_all(replica, &cancel).await {
                break;
            }
            quiet_since = tokio::time::Instant::now();
        }
        let last = self.send_once(replica);
        if tokio::time::timeout(Duration::from_secs(2), last).await.is_err() {
            warn!("the last reports were not accepted in time; they are repeated after the next start");
        }
    }

    /// `false` when cancelled on the way.
    async fn send_all(&self, replica: &dyn Replica, cancel: &CancellationToken) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = tokio::select! {
                outcome = self.send_once(replica) => outcome,
                () = cancel.cancelled() => return false,
            };
            match outcome {
                Sent::Nothing => return true,
                Sent::Some => pause = FIRST_PAUSE,
                Sent::Refused => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = cancel.cancelled() => return false,
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn send_once(&self, replica: &dyn Replica) -> Sent {
        let batch: Vec<(u64, AllocReport)> = self.lock().reports.values().take(BATCH).cloned().collect();
        let reports: Vec<AllocReport> = batch.iter().map(|(_, r)| r.clone()).collect();
        if reports.is_empty() {
            return Sent::Nothing;
        }
        match replica.propose(Command::AllocReports { reports, at: clock::now() }).await {
            Ok(_) => {
                self.settle(&batch);
                Sent::Some
            }
            Err(ProposeError::Rejected(e)) => {
                // Repeating would be refused again, and hold up everybody else's reports.
                warn!(error = %e, "reports of allocations were refused");
                self.settle(&batch);
                Sent::Some
            }
            Err(e) => {
                debug!(error = %e, "reports are repeated");
                Sent::Refused
            }
        }
    }

    fn settle(&self, batch: &[(u64, AllocReport)]) {
        let lowest_open = {
            let mut w = self.lock();
            for (ticket, report) in batch {
                if w.reports.get(&report.id).is_some_and(|(t, _)| t == ticket) {
                    w.reports.remove(&report.id);
                }
            }
            w.reports.values().map(|(t, _)| *t).min().unwrap_or(w.last + 1)
        };
        self.accepted.send_replace(lowest_open - 1);
    }
}

enum Sent {
    Nothing,
    Some,
    Refused,
}

#[cfg(test)]
mod tests {
    use model::{ClientStatus, State, replica::local::LocalReplica};

    use super::*;

    fn report(n: u128) -> AllocReport {
        AllocReport {
            id: AllocId(uuid::Uuid::from_u128(n)),
            client: ClientStatus::Running,
            client_description: String::new(),
            tasks: BTreeMap::new(),
            checks: BTreeMap::new(),
            healthy: None,
        }
    }

    #[tokio::test]
    async fn tickets_are_accepted_in_order() {
        let replica = LocalReplica::new(State::default());
        let reporter = Reporter::new();
        let cancel = CancellationToken::new();
        let first = reporter.submit(report(1));
        let second = reporter.submit(report(2));
        let third = reporter.submit(report(1));
        assert!(first < second && second < third);
        let run = reporter.run(&replica, cancel.clone());
        let wait = async {
            reporter.accepted(third).await;
            cancel.cancel();
        };
        tokio::join!(run, wait);
        assert_eq!(replica.snapshot().index.0, 1, "one proposal for all");
    }
}
