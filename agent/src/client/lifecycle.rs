//! The order of the tasks of an allocation: who may start, who must end. Pure.
//!
//! ```text
//!  prestart ─► main ─► poststart            poststop once everything else is dead
//!  (ephemeral: must succeed; sidecar: must run)
//! ```

use std::collections::BTreeMap;

use model::{
    TaskName,
    alloc::{ClientStatus, TaskPhase, TaskState},
    job::{Group, Hook, Task},
};

/// What a task is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Prestart,
    Main,
    Poststart,
    Poststop,
}

#[must_use]
pub fn role(task: &Task) -> Role {
    match task.lifecycle.map(|l| l.hook) {
        None => Role::Main,
        Some(Hook::Prestart) => Role::Prestart,
        Some(Hook::Poststart) => Role::Poststart,
        Some(Hook::Poststop) => Role::Poststop,
    }
}

#[must_use]
pub fn sidecar(task: &Task) -> bool {
    task.lifecycle.is_some_and(|l| l.sidecar)
}

/// Why the tasks of an allocation are being ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A task failed for good.
    Sibling(TaskName),
    Leader,
    MainDone,
}

type States = BTreeMap<TaskName, TaskState>;

fn state<'a>(states: &'a States, task: &Task) -> Option<&'a TaskState> {
    states.get(&task.name)
}

fn dead(states: &States, task: &Task) -> bool {
    state(states, task).is_some_and(|s| s.phase == TaskPhase::Dead)
}

fn running(states: &States, task: &Task) -> bool {
    state(states, task).is_some_and(|s| s.phase == TaskPhase::Running)
}

/// It ran at some time of this allocation's life.
fn begun(states: &States, task: &Task) -> bool {
    state(states, task).is_some_and(|s| !s.started_at.is_zero())
}

/// The task may begin now. `ending`: the allocation is being stopped.
#[must_use]
pub fn may_start(group: &Group, states: &States, task: &Task, ending: bool) -> bool {
    let others = |r: Role| group.tasks.iter().filter(move |t| role(t) == r);
    match role(task) {
        Role::Prestart => !ending,
        Role::Main => {
            !ending
                && others(Role::Prestart).all(|t| {
                    if sidecar(t) { running(states, t) } else { state(states, t).is_some_and(TaskState::succeeded) }
                })
        }
        Role::Poststart => !ending && others(Role::Main).all(|t| begun(states, t)),
        Role::Poststop => group.tasks.iter().filter(|t| role(t) != Role::Poststop).all(|t| dead(states, t)),
    }
}

/// Something happened that ends the others.
#[must_use]
pub fn must_end(group: &Group, states: &States) -> Option<Why> {
    let before_stop = || group.tasks.iter().filter(|t| role(t) != Role::Poststop);
    if let Some(t) = before_stop().find(|t| state(states, t).is_some_and(|s| s.phase == TaskPhase::Dead && s.failed)) {
        return Some(Why::Sibling(t.name.clone()));
    }
    if before_stop().any(|t| t.leader && dead(states, t)) {
        return Some(Why::Leader);
    }
    let mut main = group.tasks.iter().filter(|t| role(t) == Role::Main).peekable();
    // A poststart task that is no sidecar is let finish.
    let finishing = group.tasks.iter().any(|t| role(t) == Role::Poststart && !sidecar(t) && !dead(states, t));
    if main.peek().is_some() && main.all(|t| dead(states, t)) && !finishing {
        return Some(Why::MainDone);
    }
    None
}

/// What the allocation as a whole is doing.
#[must_use]
pub fn status(group: &Group, states: &States) -> (ClientStatus, &'static str) {
    let all = || group.tasks.iter();
    if all().all(|t| dead(states, t)) {
        return if all().any(|t| state(states, t).is_some_and(|s| s.failed)) {
            (ClientStatus::Failed, "Failed tasks")
        } else {
            (ClientStatus::Complete, "All tasks have completed")
        };
    }
    if all().any(|t| running(states, t)) {
        return (ClientStatus::Running, "Tasks are running");
    }
    (ClientStatus::Pending, "No tasks have started")
}

#[cfg(test)]
mod tests {
    use model::{Timestamp, job::Lifecycle};

    use super::*;

    fn task(name: &str, lifecycle: Option<(Hook, bool)>) -> Task {
        let lifecycle = lifecycle.map(|(hook, sidecar)| Lifecycle { hook, sidecar });
        Task { name: name.into(), lifecycle, ..Task::default() }
    }

    fn group() -> Group {
        Group {
            tasks: vec![
                task("init", Some((Hook::Prestart, false))),
                task("proxy", Some((Hook::Prestart, true))),
                task("main", None),
                task("after", Some((Hook::Poststart, false))),
                task("clean", Some((Hook::Poststop, false))),
            ],
            ..Group::default()
        }
    }

    fn states(list: &[(&str, TaskPhase, bool)]) -> States {
        list.iter()
            .map(|(n, phase, failed)| {
                let started_at = if *phase == TaskPhase::Pending { Timestamp::ZERO } else { Timestamp(1) };
                ((*n).into(), TaskState { phase: *phase, failed: *failed, started_at, ..TaskState::default() })
            })
            .collect()
    }

    fn startable(g: &Group, s: &States, ending: bool) -> Vec<String> {
        g.tasks
            .iter()
            .filter(|t| !dead(s, t) && !running(s, t) && may_start(g, s, t, ending))
            .map(|t| t.name.to_string())
            .collect()
    }

    #[test]
    fn hooks_in_order() {
        use TaskPhase::{Dead, Pending, Running};
        let g = group();
        assert_eq!(startable(&g, &states(&[]), false), ["init", "proxy"]);
        assert_eq!(startable(&g, &states(&[("init", Dead, false), ("proxy", Pending, false)]), false), ["proxy"]);
        let ready = [("init", Dead, false), ("proxy", Running, false)];
        assert_eq!(startable(&g, &states(&ready), false), ["main"]);
        assert!(startable(&g, &states(&ready), true).is_empty());
        let up = states(&[ready[0], ready[1], ("main", Running, false)]);
        assert_eq!(startable(&g, &up, false), ["after"]);
        assert_eq!(status(&g, &up).0, ClientStatus::Running);
        assert_eq!(must_end(&g, &up), None);
        let over = states(&[ready[0], ("proxy", Dead, false), ("main", Dead, false), ("after", Dead, false)]);
        assert_eq!(startable(&g, &over, true), ["clean"]);
    }

    #[test]
    fn endings() {
        use TaskPhase::{Dead, Running};
        let mut g = group();
        let done = [("proxy", Running, false), ("main", Dead, false), ("after", Dead, false), ("init", Dead, false)];
        assert_eq!(must_end(&g, &states(&done)), Some(Why::MainDone));
        let failed = states(&[("init", Dead, true)]);
        assert_eq!(must_end(&g, &failed), Some(Why::Sibling("init".into())));
        g.tasks[2].leader = true;
        let leader = states(&[("main", Dead, false), ("after", Running, false)]);
        assert_eq!(must_end(&g, &leader), Some(Why::Leader));
    }

    #[test]
    fn the_whole_fails_only_when_nothing_runs_any_more() {
        use TaskPhase::{Dead, Running};
        let g = Group { tasks: vec![task("a", None), task("b", None)], ..Group::default() };
        assert_eq!(status(&g, &states(&[("a", Dead, true), ("b", Running, false)])).0, ClientStatus::Running);
        assert_eq!(status(&g, &states(&[("a", Dead, true), ("b", Dead, false)])).0, ClientStatus::Failed);
        assert_eq!(status(&g, &states(&[("a", Dead, false), ("b", Dead, false)])).0, ClientStatus::Complete);
        assert_eq!(status(&g, &states(&[])).0, ClientStatus::Pending);
    }
}
