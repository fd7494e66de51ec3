//! The `config` block of `raw_exec`, and where its command is found.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use model::driver_config::Value;

use crate::driver::{Dirs, Error, fields::Fields};

/// Where commands are looked for when the task's environment has no `PATH`.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// This program's own name: job files may run it without it being installed.
const SELF: &str = "trine";

/// `config { command = "…" args = […] work_dir = "…" denied_envvars = […] }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandConfig {
    pub command: String,
    pub args: Vec<String>,
    pub work_dir: Option<String>,
    pub denied_env: BTreeSet<String>,
}

impl CommandConfig {
    pub fn read(config: &Value) -> Result<Self, Error> {
        let mut f = Fields::new("raw_exec config", config)?;
        let read = Self {
            command: f.required("command")?,
            args: f.texts("args")?,
            work_dir: f.text("work_dir")?.filter(|d| !d.is_empty()),
            denied_env: f.texts("denied_envvars")?.into_iter().collect(),
        };
        f.not_built(&["cgroup_v1_override", "cgroup_v2_override", "oom_score_adj"])?;
        f.finish()?;
        if read.command.contains('\0') || read.args.iter().any(|a| a.contains('\0')) {
            return Err(Error::Config("raw_exec config: command and args cannot hold NUL bytes".into()));
        }
        Ok(read)
    }
}

/// The file to run: absolute as given; otherwise in the task's `local` directory, the task's directory, then `PATH`.
pub fn resolve(command: &str, dirs: &Dirs, path: Option<&str>) -> Result<PathBuf, Error> {
    let given = Path::new(command);
    if given.is_absolute() {
        return if executable(given) { Ok(given.to_owned()) } else { Err(missing(command, given, "that path")) };
    }
    for base in [&dirs.local, &dirs.task] {
        let candidate = base.join(given);
        if executable(&candidate) {
            return Ok(candidate);
        }
    }
    if command.contains('/') {
        return Err(missing(command, &dirs.task.join(given), "the task's directory"));
    }
    let path = path.unwrap_or(DEFAULT_PATH);
    if let Some(found) = std::env::split_paths(path).map(|d| d.join(command)).find(|p| executable(p)) {
        return Ok(found);
    }
    if command == SELF {
        return std::env::current_exe().map_err(Error::io("find the trine binary"));
    }
    Err(Error::Start {
        message: format!(
            "command {command:?} was not found in the task's directory or in PATH ({path}); install it on this node or \
             give its absolute path"
        ),
        retry: false,
    })
}

fn missing(command: &str, at: &Path, place: &str) -> Error {
    let state = if at.exists() { "is not an executable file" } else { "does not exist" };
    Error::Start { message: format!("command {command:?} {state} (looked in {place}: {})", at.display()), retry: false }
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(at: &Path) -> Dirs {
        Dirs {
            shared: at.join("alloc"),
            task: at.join("t"),
            local: at.join("t/local"),
            secrets: at.join("t/secrets"),
            logs: at.join("alloc/logs"),
        }
    }

    #[test]
    fn a_missing_command_says_where_it_was_looked_for() {
        let e = resolve("no-such-command", &dirs(Path::new("/nowhere")), Some("/bin")).expect_err("missing");
        assert!(e.to_string().contains("\"no-such-command\" was not found") && e.to_string().contains("(/bin)"), "{e}");
        assert!(!e.retryable());
        assert!(resolve("/proc/version", &dirs(Path::new("/nowhere")), None).is_err());
    }

    #[test]
    fn trine_finds_itself() {
        let me = std::env::current_exe().expect("runs");
        assert_eq!(resolve("trine", &dirs(Path::new("/nowhere")), Some("/nowhere")).expect("found"), me);
    }

    #[test]
    fn the_tasks_own_directory_comes_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let d = dirs(dir.path());
        std::fs::create_dir_all(&d.local).expect("creates");
        let own = d.local.join("sh");
        std::fs::write(&own, "#!/bin/sh\n").expect("writes");
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).expect("permits");
        assert_eq!(resolve("sh", &d, None).expect("found"), own);
        assert_eq!(resolve("local/sh", &d, None).expect("found"), own);
    }
}
