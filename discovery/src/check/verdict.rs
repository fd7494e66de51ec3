//! Thresholds: how many results in a row it takes to change a verdict. Pure.

use model::{catalog::CheckDefinition, check::Verdict};

/// The counters of one check.
///
/// They begin at their thresholds, so that the first result counts at once.
#[derive(Clone, Debug)]
pub struct Tally {
    passing_after: u32,
    warning_after: u32,
    critical_after: u32,
    successes: u32,
    failures: u32,
    verdict: Verdict,
}

impl Tally {
    #[must_use]
    pub fn new(definition: &CheckDefinition, initial: Verdict) -> Self {
        let critical_after = definition.failures_before_critical;
        let warning_after = match definition.failures_before_warning {
            0 => critical_after,
            n => n,
        };
        Self {
            passing_after: definition.success_before_passing,
            warning_after,
            critical_after,
            successes: definition.success_before_passing,
            failures: critical_after,
            verdict: initial,
        }
    }

    /// Count one result; returns the verdict that holds now. Passing and warning both count as success.
    pub fn count(&mut self, found: Verdict) -> Verdict {
        if found == Verdict::Critical {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.critical_after {
                self.verdict = Verdict::Critical;
            } else if self.failures >= self.warning_after {
                self.verdict = Verdict::Warning;
            }
        } else {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            if self.successes >= self.passing_after {
                self.verdict = found;
            }
        }
        self.verdict
    }
}
