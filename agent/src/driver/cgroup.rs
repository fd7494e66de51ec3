//! Control groups, v1 and v2: so that a task can be ended with everything it started, and measured.
//!
//! Layout: `<mount>/trine/<alloc>.<task>` for tasks and `<mount>/trine/shims` for the processes that watch them.
//! Where no hierarchy can be written there is no group, and process groups and environment marks take its place.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{TaskKey, process};

const ROOT: &str = "/sys/fs/cgroup";
const PARENT: &str = "trine";
const SHIMS: &str = "shims";
/// v1 hierarchies that are used where they exist. The freezer stops a fork bomb while it is being killed.
const V1: [&str; 5] = ["freezer", "memory", "cpu", "cpuacct", "pids"];
/// How long emptying a group may take.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// Which hierarchies this host lets us write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// 2, 1, or 0 for none.
    pub version: u8,
    mounts: Vec<PathBuf>,
}

/// The hierarchies of this host; looked at once.
pub fn hierarchies() -> &'static Hierarchies {
    static FOUND: OnceLock<Hierarchies> = OnceLock::new();
    FOUND.get_or_init(|| detect(Path::new(ROOT)))
}

fn detect(root: &Path) -> Hierarchies {
    if root.join("cgroup.controllers").exists() {
        let parent = root.join(PARENT);
        if ours(&parent) {
            for c in ["+memory", "+cpu", "+pids"] {
                // A controller that the host does not hand down costs a figure, not the grouping.
                let _ = fs::write(root.join("cgroup.subtree_control"), c);
                let _ = fs::write(parent.join("cgroup.subtree_control"), c);
            }
            return Hierarchies { version: 2, mounts: vec![root.to_owned()] };
        }
        return Hierarchies::default();
    }
    let mounts: Vec<_> =
        V1.iter().map(|c| root.join(c)).filter(|m| m.join("cgroup.procs").exists() && ours(&m.join(PARENT))).collect();
    let version = u8::from(!mounts.is_empty());
    Hierarchies { version, mounts }
}

/// The folder is there and this user may make groups in it; another user's agent may have left it.
fn ours(parent: &Path) -> bool {
    fs::create_dir_all(parent).is_ok() && access(parent, AccessFlags::W_OK).is_ok()
}

/// One group in every hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub dirs: Vec<PathBuf>,
}

impl Group {
    /// The group of a task.
    #[must_use]
    pub fn of(key: &TaskKey) -> Self {
        let name = format!("{}.{}", key.alloc, key.task);
        Self { dirs: hierarchies().mounts.iter().map(|m| m.join(PARENT).join(&name)).collect() }
    }

    /// The group of the shims: outside the tasks', and outside the agent's, whose service manager may empty it.
    #[must_use]
    pub fn shims() -> Self {
        Self { dirs: hierarchies().mounts.iter().map(|m| m.join(PARENT).join(SHIMS)).collect() }
    }

    /// There is no cgroup here.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.dirs.is_empty()
    }

    pub fn create(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(fs::create_dir_all)
    }

    /// Move a process in.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        self.dirs.iter().try_for_each(|d| fs::write(d.join("cgroup.procs"), pid.to_string()))
    }

    /// A relative share of the CPU for `mhz`.
    pub fn share_cpu(&self, mhz: u64) {
        for d in &self.dirs {
            // Shares only order tasks against each other; a host without the controller runs them all the same.
            let _ = fs::write(d.join("cpu.shares"), mhz.clamp(2, 262_144).to_string());
            let _ = fs::write(d.join("cpu.weight"), (mhz / 10).clamp(1, 10_000).to_string());
        }
    }

    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .dirs
            .iter()
            .filter_map(|d| fs::read_to_string(d.join("cgroup.procs")).ok())
            .flat_map(|t| t.lines().filter_map(|l| l.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// SIGKILL every process in it until it is empty. Blocks for up to a few seconds.
    pub fn kill(&self) -> bool {
        let deadline = Instant::now() + EMPTY_WITHIN;
        loop {
            let pids = self.pids();
            if pids.is_empty() {
                return true;
            }
            self.freeze(true);
            for d in &self.dirs {
                let _ = fs::write(d.join("cgroup.kill"), "1");
            }
            for s in pids.into_iter().filter_map(process::stat) {
                process::end(&s);
            }
            self.freeze(false);
            if Instant::now() > deadline {
                return self.pids().is_empty();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// v1 only: stop everything for a moment, so that what forks faster than it is killed is killed too.
    fn freeze(&self, on: bool) {
        for d in &self.dirs {
            let file = d.join("freezer.state");
            if file.exists() {
                let _ = fs::write(file, if on { "FROZEN" } else { "THAWED" });
            }
        }
    }

    /// Remove the group; it must be empty.
    pub fn remove(&self) {
        for d in &self.dirs {
            if let Err(e) = fs::remove_dir(d)
                && e.kind() != io::ErrorKind::NotFound
            {
                debug!(dir = %d.display(), error = %e, "control group stays");
            }
        }
    }

    /// Memory in use and CPU time so far, where the controllers are there.
    #[must_use]
    pub fn memory_and_cpu(&self) -> (Option<u64>, Option<u64>) {
        let read = |name: &str| {
            self.dirs.iter().find_map(|d| fs::read_to_string(d.join(name)).ok()?.trim().parse::<u64>().ok())
        };
        let memory = read("memory.current").or_else(|| read("memory.usage_in_bytes"));
        let cpu = read("cpuacct.usage").or_else(|| {
            self.dirs.iter().find_map(|d| {
                let text = fs::read_to_string(d.join("cpu.stat")).ok()?;
                let line = text.lines().find_map(|l| l.strip_prefix("usage_usec "))?;
                Some(line.trim().parse::<u64>().ok()? * 1000)
            })
        });
        (memory, cpu)
    }
}
