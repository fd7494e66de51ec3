//! The restart policy: whether a task that ended begins again on this node, and when. Pure.

use std::time::Duration;

use model::{
    Timestamp,
    job::{JobKind, RestartMode, RestartPolicy},
};
use serde::{Deserialize, Serialize};

/// Restarts counted in the current interval; kept in the journal, so that an agent restart does not forget them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub count: u32,
    /// Zero before the first.
    pub since: Timestamp,
}

/// Why the question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The task ended by itself.
    Exited { success: bool },
    /// The driver could not start it.
    NotStarted { retry: bool },
    /// A failing check wants it restarted.
    Unhealthy,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Again {
        after: Duration,
        reason: &'static str,
    },
    /// It did what it was there for.
    Done {
        reason: &'static str,
    },
    Failed {
        reason: String,
    },
}

const WITHIN: &str = "Restart within policy";
const DELAYED: &str = "Exceeded allowed attempts, applying a delay";
const UNNECESSARY: &str = "Restart unnecessary as task terminated successfully";
const NOT_AGAIN: &str = "Error was unrecoverable";

/// Decide; `sidecar` tasks are restarted whatever their job's type. `jitter` is 0.0..1.0.
pub fn decide(
    policy: &RestartPolicy,
    kind: JobKind,
    sidecar: bool,
    ended: Ended,
    tally: &mut Tally,
    now: Timestamp,
    jitter: f64,
) -> Decision {
    match ended {
        Ended::Exited { success: true } if kind.runs_to_completion() && !sidecar => {
            return Decision::Done { reason: UNNECESSARY };
        }
        Ended::NotStarted { retry: false } => return Decision::Failed { reason: NOT_AGAIN.into() },
        _ => {}
    }
    if policy.attempts == 0 && policy.mode == RestartMode::Fail {
        return Decision::Failed { reason: "Policy allows no restarts".into() };
    }
    if tally.since.is_zero() || now.since(tally.since) > policy.interval {
        *tally = Tally { count: 0, since: now };
    }
    tally.count += 1;
    if tally.count <= policy.attempts {
        // Up to a quarter more, so that tasks that fell together do not rise together.
        let after = policy.delay + policy.delay.mul_f64(0.25 * jitter.clamp(0.0, 1.0));
        return Decision::Again { after, reason: WITHIN };
    }
    match policy.mode {
        RestartMode::Fail => Decision::Failed {
            reason: format!(
                "Exceeded allowed attempts {} in interval {} and mode is \"fail\"",
                policy.attempts,
                words(policy.interval)
            ),
        },
        RestartMode::Delay => {
            let rest = policy.interval.saturating_sub(now.since(tally.since));
            Decision::Again { after: rest.max(policy.delay), reason: DELAYED }
        }
    }
}

/// A duration as Go writes it: `30m0s`, `1.5s`.
#[must_use]
pub fn words(d: Duration) -> String {
    let secs = d.as_secs();
    let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
    let fraction = format!("{:.3}", f64::from(d.subsec_millis()) / 1000.0);
    let fraction = fraction.trim_start_matches('0').trim_end_matches('0').trim_end_matches('.').to_owned();
    match (h, m) {
        (0, 0) if s == 0 && d.subsec_millis() > 0 => format!("{}ms", d.subsec_millis()),
        (0, 0) => format!("{s}{fraction}s"),
        (0, _) => format!("{m}m{s}{fraction}s"),
        _ => format!("{h}h{m}m{s}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(attempts: u32, mode: RestartMode) -> RestartPolicy {
        RestartPolicy { attempts, interval: Duration::from_secs(60), delay: Duration::from_secs(4), mode }
    }

    fn at(s: u64) -> Timestamp {
        Timestamp::from_secs(1000 + s)
    }

    const CRASH: Ended = Ended::Exited { success: false };

    #[test]
    fn attempts_then_failure_then_a_new_interval() {
        let p = policy(2, RestartMode::Fail);
        let mut t = Tally::default();
        let mut ask = |s| decide(&p, JobKind::Service, false, CRASH, &mut t, at(s), 0.0);
        assert_eq!(ask(0), Decision::Again { after: Duration::from_secs(4), reason: WITHIN });
        assert_eq!(ask(5), Decision::Again { after: Duration::from_secs(4), reason: WITHIN });
        assert_eq!(
            ask(10),
            Decision::Failed { reason: "Exceeded allowed attempts 2 in interval 1m0s and mode is \"fail\"".into() }
        );
        assert!(matches!(ask(100), Decision::Again { .. }));
    }

    #[test]
    fn delay_mode_waits_out_the_interval() {
        let p = policy(1, RestartMode::Delay);
        let mut t = Tally::default();
        decide(&p, JobKind::Service, false, CRASH, &mut t, at(0), 0.0);
        let d = decide(&p, JobKind::Service, false, CRASH, &mut t, at(20), 0.0);
        assert_eq!(d, Decision::Again { after: Duration::from_secs(40), reason: DELAYED });
    }

    #[test]
    fn batch_success_is_done_but_a_service_begins_again() {
        let p = policy(1, RestartMode::Fail);
        let ok = Ended::Exited { success: true };
        assert!(matches!(
            decide(&p, JobKind::Batch, false, ok, &mut Tally::default(), at(0), 0.0),
            Decision::Done { .. }
        ));
        for (kind, sidecar) in [(JobKind::Service, false), (JobKind::Batch, true)] {
            let d = decide(&p, kind, sidecar, ok, &mut Tally::default(), at(0), 0.0);
            assert!(matches!(d, Decision::Again { .. }));
        }
    }

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        let p = policy(9, RestartMode::Delay);
        let no = Ended::NotStarted { retry: false };
        assert!(matches!(
            decide(&p, JobKind::Service, false, no, &mut Tally::default(), at(0), 0.0),
            Decision::Failed { .. }
        ));
        let none =
            decide(&policy(0, RestartMode::Fail), JobKind::Service, false, CRASH, &mut Tally::default(), at(0), 0.0);
        assert_eq!(none, Decision::Failed { reason: "Policy allows no restarts".into() });
    }

    #[test]
    fn jitter_adds_at_most_a_quarter() {
        let p = policy(1, RestartMode::Fail);
        let d = decide(&p, JobKind::Service, false, CRASH, &mut Tally::default(), at(0), 7.0);
        assert_eq!(d, Decision::Again { after: Duration::from_secs(5), reason: WITHIN });
    }

    #[test]
    fn durations_in_words() {
        for (ms, want) in [(15_800, "15.8s"), (1_800_000, "30m0s"), (250, "250ms"), (86_400_000, "24h0m0s"), (0, "0s")]
        {
            assert_eq!(words(Duration::from_millis(ms)), want);
        }
    }
}
