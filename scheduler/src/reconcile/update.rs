//! In place or by replacement: which changes of a specification need the tasks to be started anew.
//!
//! Both versions are blanked of everything that a running allocation can take over; what still differs is destructive.
//! Written this way round, a field added to the model is destructive until somebody decides otherwise, which is safe.

use std::{collections::BTreeMap, time::Duration};

use model::{
    Group, GroupName, Job, Task,
    job::{Logs, Migrate, ReschedulePolicy, RestartPolicy},
};

/// Whether going from `old` to `new` replaces the allocations of a group.
#[must_use]
pub fn destructive(old: &Job, new: &Job, group: &GroupName) -> bool {
    match (old.group(group), new.group(group)) {
        (Some(a), Some(b)) => old.kind != new.kind || essence(old, a) != essence(new, b),
        _ => true,
    }
}

fn essence(job: &Job, group: &Group) -> Group {
    Group {
        count: 0,
        constraints: Vec::new(),
        affinities: Vec::new(),
        spreads: Vec::new(),
        services: Vec::new(),
        restart: RestartPolicy::default(),
        reschedule: ReschedulePolicy::default(),
        update: None,
        migrate: Migrate::default(),
        scaling: None,
        disconnect: None,
        shutdown_delay: Duration::ZERO,
        meta: BTreeMap::new(),
        // Only the first network is used.
        networks: group.networks.iter().take(1).cloned().collect(),
        tasks: group.tasks.iter().map(|t| task_essence(job, group, t)).collect(),
        ..group.clone()
    }
}

fn task_essence(job: &Job, group: &Group, task: &Task) -> Task {
    // A task sees one merged meta; where a key was written does not matter.
    let layers = job.meta.iter().chain(&group.meta).chain(&task.meta);
    Task {
        meta: layers.map(|(k, v)| (k.clone(), v.clone())).collect(),
        constraints: Vec::new(),
        affinities: Vec::new(),
        services: Vec::new(),
        restart: None,
        kill_timeout: Duration::ZERO,
        kill_signal: String::new(),
        shutdown_delay: Duration::ZERO,
        logs: Logs { disabled: task.logs.disabled, ..Logs::default() },
        ..task.clone()
    }
}
