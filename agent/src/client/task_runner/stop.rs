//! Ending a running task: leave discovery, wait, ask, insist.

use std::{future::Future, pin::Pin, time::Duration};

use model::alloc::TaskPhase;
use nix::sys::signal::Signal;
use tracing::warn;

use super::{
    super::{events, shared::Restart},
    TaskRunner,
};
use crate::driver::{self, Exit, Handle, signals};

/// How long the servers may take to take a restarting task's services out, before it is restarted all the same.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Requests that load balancers already sent are given this long once the services are out.
const IN_FLIGHT: Duration = Duration::from_millis(500);
/// How long the end of a killed task is waited for.
const DEAD_WITHIN: Duration = Duration::from_secs(15);

impl TaskRunner {
    /// Kill order: `shutdown_delay`, `kill_signal`, `kill_timeout`, SIGKILL. Returns when the task is over.
    pub(super) async fn stop<F>(&mut self, handle: &Handle, wait: &mut Pin<&mut F>, at_once: bool)
    where
        F: Future<Output = Result<Exit, driver::Error>> + Send + ?Sized,
    {
        let task = self.task().unwrap_or_default();
        if !at_once && !task.shutdown_delay.is_zero() {
            self.note(events::waiting_to_leave(task.shutdown_delay)).await;
            if let Ok(exit) = tokio::time::timeout(task.shutdown_delay, wait.as_mut()).await {
                return self.stopped(exit).await;
            }
        }
        let signal = self.stop_signal(&task.kill_signal);
        let patience = task.kill_timeout.min(self.shared.services.config.max_kill_timeout);
        self.note(events::killing(signal.as_str(), patience)).await;
        if let Err(e) = self.driver.signal(handle, signal).await {
            // Over already, or about to be killed anyway.
            tracing::debug!(task = %self.key, error = %e, "stop signal not delivered");
        }
        if let Ok(exit) = tokio::time::timeout(patience, wait.as_mut()).await {
            return self.stopped(exit).await;
        }
        loop {
            if let Err(e) = self.driver.kill(handle).await {
                warn!(task = %self.key, error = %e, "task could not be killed");
            }
            match tokio::time::timeout(DEAD_WITHIN, wait.as_mut()).await {
                Ok(exit) => return self.stopped(exit).await,
                Err(_) => warn!(task = %self.key, "task was killed and is still not over; killing again"),
            }
        }
    }

    async fn stopped(&mut self, exit: Result<Exit, driver::Error>) {
        match exit {
            Ok(exit) => self.note(events::terminated(&exit)).await,
            Err(e) => warn!(task = %self.key, error = %e, "the end of a stopped task is not known"),
        }
        self.note(events::killed()).await;
    }

    fn stop_signal(&self, name: &str) -> Signal {
        if name.is_empty() {
            return self.driver.default_signal();
        }
        signals::parse(name).unwrap_or_else(|e| {
            warn!(task = %self.key, error = %e, "kill_signal is not usable; the driver's default is");
            self.driver.default_signal()
        })
    }

    /// Before a restart on purpose: out of discovery first, so that nobody is sent to a task that is going away.
    pub(super) async fn leave_first(&mut self, why: &Restart) {
        let reason = match why {
            Restart::User => "User requested running tasks to restart".to_owned(),
            Restart::Check(check) => format!("healthcheck: check {check:?} unhealthy"),
        };
        let routed = self.task().is_some_and(|t| !t.services.is_empty());
        let ticket = self
            .change(|r| {
                r.state.phase = TaskPhase::Pending;
                events::push(&mut r.state, events::restart_signaled(&reason));
            })
            .await;
        let accepted = self.shared.services.reporter.accepted(ticket);
        if tokio::time::timeout(LEAVE_WITHIN, accepted).await.is_err() {
            warn!(task = %self.key, "the servers do not answer; the task is restarted while still in discovery");
        } else if routed && *why == Restart::User {
            tokio::time::sleep(IN_FLIGHT).await;
        }
    }
}
