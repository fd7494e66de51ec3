//! Tasks: resources, driver, mounts, logs.

use model::{Group, Task, resource::TaskResources};

use super::{Report, constraint, driver, name, policy, service};
use crate::spec::suggest;

/// Names that are directories of the allocation itself.
const TAKEN: [&str; 1] = ["alloc"];

const SIGNALS: [&str; 17] = [
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGABRT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM",
    "SIGTERM", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGWINCH", "SIGIO", "SIGTRAP",
];

pub fn task(g: &Group, t: &Task, group_place: &str, report: &mut Report) {
    let place = format!("{group_place} > task {:?}", t.name.as_str());
    if let Some(wrong) = name::directory(t.name.as_str()) {
        report.error(group_place, format!("the task name {:?} {wrong}", t.name.as_str()));
    }
    report.rule(!TAKEN.contains(&t.name.as_str()), group_place, || {
        format!("a task cannot be called {:?}: the directory of that name belongs to the allocation", t.name.as_str())
    });
    driver::config(t, &place, report);
    resources(&t.resources, &place, report);
    constraint::all(&t.constraints, &t.affinities, &[], &place, report);
    if let Some(r) = &t.restart {
        policy::restart(r, &place, report);
    }
    name::keys(&t.env, "env", &place, report);
    name::keys(&t.meta, "meta", &place, report);
    report.rule(t.logs.max_files > 0 && t.logs.max_file_size_mb > 0, &place, || {
        "logs: \"max_files\" and \"max_file_size\" must be at least 1".into()
    });
    signal(&t.kill_signal, &place, report);
    if t.leader && t.lifecycle.is_some() {
        report.error(&place, "a task with a \"lifecycle\" cannot be the \"leader\"");
    }
    mounts(g, t, &place, report);
    for s in &t.services {
        service::service(g, s, Some(t), &place, report);
    }
}

fn resources(r: &TaskResources, place: &str, report: &mut Report) {
    report.rule(r.cores > 0 || r.cpu_mhz >= 1, place, || "resources: \"cpu\" must be at least 1 MHz".into());
    report.rule(r.memory_mb >= 10, place, || {
        format!("resources: \"memory\" must be at least 10 MB, not {}", r.memory_mb)
    });
    for (what, amount) in [("cpu", r.cpu_mhz), ("memory", r.memory_mb)] {
        report.rule(amount <= 1 << 32, place, || {
            format!("resources: \"{what}\" of {amount} is more than any machine has")
        });
    }
    if let Some(max) = r.memory_max_mb {
        let enough = max == -1 || u64::try_from(max).is_ok_and(|m| m >= r.memory_mb);
        report.rule(enough, place, || {
            format!(
                "resources: \"memory_max\" ({max}) must be at least \"memory\" ({}), or -1 for no limit",
                r.memory_mb
            )
        });
    }
    for device in &r.devices {
        report
            .error(place, format!("resources: device {device:?} cannot be reserved; let the driver's config name it"));
    }
}

fn signal(name: &str, place: &str, report: &mut Report) {
    if name.is_empty() || name.contains("${") {
        return;
    }
    report.rule(SIGNALS.contains(&name.to_uppercase().as_str()), place, || {
        format!("\"kill_signal\" {name:?} is not a signal.{}", suggest::hint(name, SIGNALS))
    });
}

fn mounts(g: &Group, t: &Task, place: &str, report: &mut Report) {
    for m in &t.volume_mounts {
        report.rule(g.volumes.contains_key(&m.volume), place, || {
            let hint = suggest::hint(&m.volume, g.volumes.keys().map(String::as_str));
            format!("volume_mount: the group has no volume {:?}.{hint}", m.volume)
        });
        report.rule(!m.destination.is_empty(), place, || {
            format!("volume_mount: volume {:?} needs a \"destination\"", m.volume)
        });
    }
}
