//! What a dry run answers: counts per group, groups that do not fit, evaluations that would follow.

use std::collections::BTreeMap;

use model::plan::GroupChanges;
use serde_json::{Map, Value, json};

use super::eval::{full, metric};
use crate::{diff::JobDiff, dry_run::DryRun};

/// A dry run, with the difference to the registered job when it was asked for.
#[must_use]
pub fn planned(dry: &DryRun, diff: Option<JobDiff>, warnings: &str) -> Value {
    let updates: Map<String, Value> = dry.changes.iter().map(|(g, c)| (g.to_string(), updates(c))).collect();
    let failed: Map<String, Value> = dry.failed_groups.iter().map(|(g, m)| (g.to_string(), metric(m))).collect();
    json!({
        "Annotations": { "DesiredTGUpdates": updates, "PreemptedAllocs": null },
        "FailedTGAllocs": if failed.is_empty() { Value::Null } else { Value::Object(failed) },
        "CreatedEvals": dry.created_evals.iter().map(full).collect::<Vec<_>>(),
        "Diff": diff.map(|d| with_updates(d, dry)),
        "JobModifyIndex": dry.job_modify_index.0,
        "NextPeriodicLaunch": super::time::ZERO,
        "Warnings": warnings,
    })
}

fn updates(c: &GroupChanges) -> Value {
    json!({
        "Ignore": c.ignore, "Place": c.place, "Migrate": c.migrate, "Stop": c.stop, "InPlaceUpdate": c.in_place,
        "DestructiveUpdate": c.destructive, "Canary": c.canary, "Preemptions": c.preemptions,
        "RescheduleNow": c.reschedule_now, "RescheduleLater": c.reschedule_later, "Disconnect": 0, "Reconnect": 0,
    })
}

/// Each group of the difference says in words what its change comes to.
fn with_updates(mut diff: JobDiff, dry: &DryRun) -> JobDiff {
    for group in &mut diff.task_groups {
        let Some(c) = dry.changes.get(group.name.as_str()) else { continue };
        let words = [
            ("create", c.place),
            ("destroy", c.stop),
            ("migrate", c.migrate),
            ("canary", c.canary),
            ("in-place update", c.in_place),
            ("create/destroy update", c.destructive),
            ("ignore", c.ignore),
        ];
        let counted = words.into_iter().filter(|(_, n)| *n > 0).map(|(w, n)| (w.to_owned(), u64::from(n)));
        group.updates = Some(counted.collect::<BTreeMap<_, _>>());
    }
    diff
}
