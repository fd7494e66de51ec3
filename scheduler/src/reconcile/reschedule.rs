//! When a failed allocation is tried again elsewhere, and after how long.

use std::time::Duration;

use model::{
    Alloc, Timestamp,
    alloc::RescheduleEvent,
    job::{DelayFunction, ReschedulePolicy},
};

use super::{Scene, class::Fate};

/// Attempts remembered on the chain when the policy sets no limit.
const EVENTS_KEPT: usize = 5;

/// The fate of a failed allocation under its own version's policy.
#[must_use]
pub fn fate(scene: &Scene<'_>, alloc: &Alloc) -> Fate {
    if alloc.transition.force_reschedule {
        return Fate::Retry;
    }
    let Some(group) = scene.state.job_of(alloc).and_then(|j| j.group(&alloc.group)) else { return Fate::Dead };
    match next_attempt(&group.reschedule, alloc) {
        None => Fate::Dead,
        Some(at) if at <= scene.now || alloc.followup_eval == Some(scene.eval.id) => Fate::Retry,
        Some(at) => Fate::Waiting(at),
    }
}

/// When the allocation's tasks ended.
#[must_use]
pub fn failed_at(alloc: &Alloc) -> Timestamp {
    let last = alloc.tasks.values().map(|t| t.finished_at).max().unwrap_or(Timestamp::ZERO);
    if last.is_zero() { alloc.modified_at } else { last }
}

/// When the next attempt is due; `None` when there is to be none.
#[must_use]
pub fn next_attempt(policy: &ReschedulePolicy, alloc: &Alloc) -> Option<Timestamp> {
    let failed = failed_at(alloc);
    if !policy.enabled() {
        return None;
    }
    if !policy.unlimited {
        let recent = alloc.reschedules.iter().filter(|e| failed.since(e.at) < policy.interval).count();
        if recent >= policy.attempts as usize {
            return None;
        }
    }
    Some(failed + delay(policy, &alloc.reschedules, failed))
}

/// The delay before the next attempt.
#[must_use]
pub fn delay(policy: &ReschedulePolicy, history: &[RescheduleEvent], failed: Timestamp) -> Duration {
    let Some(last) = history.last() else { return policy.delay };
    let grown = match policy.delay_function {
        DelayFunction::Constant => return policy.delay,
        DelayFunction::Exponential => last.delay.saturating_mul(2),
        DelayFunction::Fibonacci => {
            let before = history.len().checked_sub(2).map_or(Duration::ZERO, |i| history[i].delay);
            last.delay.saturating_add(before)
        }
    };
    let grown = grown.max(policy.delay);
    if policy.max_delay.is_zero() || grown <= policy.max_delay {
        return grown;
    }
    // At the ceiling, an attempt that lasted longer than its delay earns a fresh start.
    if last.delay >= policy.max_delay && failed.since(last.at) > last.delay { policy.delay } else { policy.max_delay }
}

/// The chain's history after one more attempt.
#[must_use]
pub fn history(policy: &ReschedulePolicy, alloc: &Alloc, now: Timestamp) -> Vec<RescheduleEvent> {
    let event = RescheduleEvent {
        at: now,
        previous_alloc: alloc.id,
        previous_node: alloc.node,
        delay: delay(policy, &alloc.reschedules, failed_at(alloc)),
    };
    let kept = EVENTS_KEPT.max(policy.attempts as usize);
    let mut events = alloc.reschedules.clone();
    events.push(event);
    let extra = events.len().saturating_sub(kept);
    events.drain(..extra);
    events
}
