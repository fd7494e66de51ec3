//! Processes by what the kernel says of them: identity is pid + start time + boot, never the pid alone.

use std::{fs, io::Read};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::TaskKey;

/// Clock ticks per second in `/proc`: fixed by the kernel's user interface.
const TICKS_PER_SEC: u64 = 100;
const PAGE: u64 = 4096;
/// The most of an environment that is read when looking for a mark.
const ENVIRON_MAX: u64 = 256 * 1024;

/// What `/proc/<pid>/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    pub parent: i32,
    pub zombie: bool,
    /// Clock ticks after boot.
    pub start: u64,
    pub cpu_ns: u64,
    pub rss_bytes: u64,
}

/// The state of a process, if there is one.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    // The name in parentheses may hold anything; the numbers begin after the last one.
    let rest = &text[text.rfind(')')? + 1..];
    let f: Vec<&str> = rest.split_whitespace().collect();
    let n = |i: usize| f.get(i)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        zombie: matches!(*f.first()?, "Z" | "X"),
        parent: f.get(1)?.parse().ok()?,
        cpu_ns: (n(11)? + n(12)?) * (1_000_000_000 / TICKS_PER_SEC),
        start: n(19)?,
        rss_bytes: n(21)? * PAGE,
    })
}

/// The same process is still there, and not a zombie.
#[must_use]
pub fn alive(pid: i32, start: u64) -> bool {
    stat(pid).is_some_and(|s| s.start == start && !s.zombie)
}

/// Changes with every boot: what was started before it is gone.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// Every process.
#[must_use]
pub fn all() -> Vec<Stat> {
    let Ok(dir) = fs::read_dir("/proc") else { return Vec::new() };
    dir.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).filter_map(stat).collect()
}

/// Processes whose environment names the task: what is left of it when there is no cgroup to ask.
#[must_use]
pub fn marked(key: &TaskKey) -> Vec<Stat> {
    let alloc = format!("NOMAD_ALLOC_ID={}", key.alloc);
    let task = format!("NOMAD_TASK_NAME={}", key.task);
    all()
        .into_iter()
        .filter(|s| !s.zombie)
        .filter(|s| {
            let env = environ(s.pid);
            has(&env, &alloc) && has(&env, &task)
        })
        .collect()
}

/// Every marked process with the allocation and task it names.
#[must_use]
pub fn all_marked() -> Vec<(TaskKey, Stat)> {
    let mark = |env: &[u8], name: &str| {
        env.split(|b| *b == 0)
            .find_map(|v| v.strip_prefix(name.as_bytes()))
            .and_then(|v| String::from_utf8(v.to_vec()).ok())
    };
    all()
        .into_iter()
        .filter(|s| !s.zombie)
        .filter_map(|s| {
            let env = environ(s.pid);
            let alloc = mark(&env, "NOMAD_ALLOC_ID=")?.parse().ok()?;
            let task = mark(&env, "NOMAD_TASK_NAME=")?;
            Some((TaskKey { alloc, task: task.into() }, s))
        })
        .collect()
}

fn environ(pid: i32) -> Vec<u8> {
    let mut env = Vec::new();
    if let Ok(f) = fs::File::open(format!("/proc/{pid}/environ")) {
        // What cannot be read is not ours.
        let _ = f.take(ENVIRON_MAX).read_to_end(&mut env);
    }
    env
}

fn has(env: &[u8], entry: &str) -> bool {
    env.split(|b| *b == 0).any(|v| v == entry.as_bytes())
}

/// Children, and theirs.
#[must_use]
pub fn descendants(root: i32) -> Vec<Stat> {
    let every = all();
    let mut family = vec![root];
    let mut found: Vec<Stat> = Vec::new();
    while let Some(parent) = family.pop() {
        for s in every.iter().filter(|s| s.parent == parent) {
            if !found.iter().any(|f| f.pid == s.pid) {
                found.push(*s);
                family.push(s.pid);
            }
        }
    }
    found
}

/// SIGKILL, unless the pid is another process by now.
pub fn end(s: &Stat) {
    if alive(s.pid, s.start) {
        // It may be gone by now, which is what was wanted.
        let _ = kill(Pid::from_raw(s.pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses() {
        let s =
            parse_stat(7, "7 (a) b) S 3 7 7 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 12345 1000 10 18446744073709551615")
                .expect("parses");
        assert_eq!((s.parent, s.start, s.cpu_ns, s.rss_bytes), (3, 12345, 110_000_000, 40960));
        assert!(parse_stat(1, "nonsense").is_none());
    }

    #[test]
    fn this_process_is_alive() {
        let me = stat(i32::try_from(std::process::id()).expect("fits")).expect("there");
        assert!(alive(me.pid, me.start));
        assert!(!alive(me.pid, me.start + 1));
        assert!(!boot_id().is_empty());
    }
}
