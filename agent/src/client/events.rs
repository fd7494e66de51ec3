//! Task events, in the words operators and clients know.

use std::{collections::BTreeMap, time::Duration};

use model::alloc::{TaskEvent, TaskState};

use super::{clock, restart::words};
use crate::driver::Exit;

/// How many a task keeps.
const KEPT: usize = 10;
/// The longest message of an event.
const MESSAGE_MAX: usize = 1024;

/// Append, forgetting the oldest.
pub fn push(state: &mut TaskState, event: TaskEvent) {
    state.events.push(event);
    let extra = state.events.len().saturating_sub(KEPT);
    state.events.drain(..extra);
}

fn event(kind: &str, message: impl Into<String>, details: &[(&str, String)]) -> TaskEvent {
    let mut message: String = message.into();
    if message.len() > MESSAGE_MAX {
        let cut = (0..=MESSAGE_MAX).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
        message.truncate(cut);
    }
    TaskEvent {
        at: clock::now(),
        kind: kind.to_owned(),
        message,
        details: details.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect::<BTreeMap<_, _>>(),
    }
}

#[must_use]
pub fn received() -> TaskEvent {
    event("Received", "Task received by client", &[])
}

#[must_use]
pub fn setup(message: &str) -> TaskEvent {
    event("Task Setup", message, &[("message", message.to_owned())])
}

#[must_use]
pub fn started() -> TaskEvent {
    event("Started", "Task started by client", &[])
}

#[must_use]
pub fn recovered() -> TaskEvent {
    event("Task Setup", "Task taken up again after a restart of the agent", &[])
}

#[must_use]
pub fn terminated(exit: &Exit) -> TaskEvent {
    let mut message = format!("Exit Code: {}", exit.code);
    let mut details = vec![("exit_code", exit.code.to_string()), ("signal", exit.signal.to_string())];
    if exit.signal != 0 {
        message.push_str(&format!(", Signal: {}", exit.signal));
    }
    if exit.out_of_memory {
        message.push_str(", Exit Message: \"OOM Killed\"");
        details.push(("oom_killed", "true".into()));
    }
    if let Some(why) = &exit.lost {
        message.push_str(&format!(", Exit Message: {why:?}"));
        details.push(("exit_message", why.clone()));
    }
    event("Terminated", message, &details)
}

#[must_use]
pub fn restarting(after: Duration, reason: &str) -> TaskEvent {
    let message = format!("Task restarting in {}", words(after));
    let details = [("restart_reason", reason.to_owned()), ("start_delay", after.as_nanos().to_string())];
    event("Restarting", message, &details)
}

#[must_use]
pub fn not_restarting(reason: &str, fails: bool) -> TaskEvent {
    event("Not Restarting", reason, &[("restart_reason", reason.to_owned()), ("fails_task", fails.to_string())])
}

#[must_use]
pub fn restart_signaled(reason: &str) -> TaskEvent {
    event("Restart Signaled", reason, &[("restart_reason", reason.to_owned())])
}

#[must_use]
pub fn signaling(signal: &str) -> TaskEvent {
    event("Signaling", format!("Task being sent signal {signal}"), &[("task_signal", signal.to_owned())])
}

#[must_use]
pub fn killing(signal: &str, timeout: Duration) -> TaskEvent {
    let message = if signal == "SIGINT" {
        format!("Sent interrupt. Waiting {} before force killing", words(timeout))
    } else {
        format!("Sent {signal}. Waiting {} before force killing", words(timeout))
    };
    event("Killing", message, &[("kill_timeout", timeout.as_nanos().to_string())])
}

#[must_use]
pub fn killed() -> TaskEvent {
    event("Killed", "Task successfully killed", &[])
}

#[must_use]
pub fn waiting_to_leave(delay: Duration) -> TaskEvent {
    let message = format!("Waiting for shutdown_delay of {} before killing the task.", words(delay));
    event("Waiting for shutdown delay", message, &[])
}

#[must_use]
pub fn driver_failure(error: &str) -> TaskEvent {
    event("Driver Failure", error, &[("driver_error", error.to_owned())])
}

#[must_use]
pub fn failed_validation(error: &str) -> TaskEvent {
    event("Failed Validation", error, &[("validation_error", error.to_owned())])
}

#[must_use]
pub fn setup_failure(error: &str) -> TaskEvent {
    event("Setup Failure", error, &[("setup_error", error.to_owned())])
}

#[must_use]
pub fn leader_dead() -> TaskEvent {
    event("Leader Task Dead", "Leader Task in Group dead", &[])
}

#[must_use]
pub fn main_dead() -> TaskEvent {
    event("Main Tasks Dead", "Main tasks in the group died", &[])
}

#[must_use]
pub fn sibling_failed(task: &str) -> TaskEvent {
    event("Sibling Task Failed", format!("Task's sibling {task:?} failed"), &[("failed_sibling", task.to_owned())])
}
