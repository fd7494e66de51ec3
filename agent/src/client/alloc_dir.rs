//! Where an allocation lives on disk.
//!
//! ```text
//!  <data_dir>/alloc/<alloc>/alloc/{data,logs,tmp}        shared by its tasks
//!                          /<task>/{local,secrets,private,tmp}
//! ```

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use model::{AllocId, TaskName};
use nix::unistd::User;

use crate::driver::Dirs;

/// The shared part, and so a name no task may have.
pub const SHARED: &str = "alloc";
/// The longest task name that becomes a directory.
const NAME_MAX: usize = 128;

/// The directory of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocDir {
    pub root: PathBuf,
}

impl AllocDir {
    #[must_use]
    pub fn of(data_dir: &Path, id: AllocId) -> Self {
        Self { root: data_dir.join("alloc").join(id.to_string()) }
    }

    /// The directories of a task; its name must be usable as one.
    pub fn dirs(&self, task: &TaskName) -> Result<Dirs, String> {
        let name = task.as_str();
        let bad = name.is_empty()
            || name.len() > NAME_MAX
            || name == SHARED
            || name.starts_with('.')
            || name.contains(['/', '\0', '\\']);
        if bad {
            return Err(format!("task name {name:?} cannot be a directory: rename the task"));
        }
        let (shared, own) = (self.root.join(SHARED), self.root.join(name));
        Ok(Dirs {
            logs: shared.join("logs"),
            shared,
            local: own.join("local"),
            secrets: own.join("secrets"),
            task: own,
        })
    }

    /// Make what is missing; the task's own directories belong to its user.
    pub fn create(&self, task: &TaskName, user: &str) -> io::Result<Dirs> {
        let dirs = self.dirs(task).map_err(io::Error::other)?;
        for sub in ["data", "logs", "tmp"] {
            let dir = dirs.shared.join(sub);
            fs::create_dir_all(&dir)?;
            // Tasks of different users share these.
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&dirs.task)?;
        let (private, tmp) = (dirs.task.join("private"), dirs.task.join("tmp"));
        for (dir, mode) in [(&dirs.local, 0o755), (&dirs.secrets, 0o700), (&private, 0o700), (&tmp, 0o777)] {
            fs::DirBuilder::new().recursive(true).mode(mode).create(dir)?;
            if let Some(owner) = (!user.is_empty()).then(|| User::from_name(user).ok().flatten()).flatten() {
                std::os::unix::fs::chown(dir, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
            }
        }
        Ok(dirs)
    }

    /// Take the data of an earlier allocation of the same group over (`ephemeral_disk { sticky = true }`).
    pub fn inherit(&self, from: &Self) -> io::Result<()> {
        let theirs = from.root.join(SHARED).join("data");
        let ours = self.root.join(SHARED).join("data");
        if !theirs.is_dir() || ours.exists() {
            return Ok(());
        }
        fs::create_dir_all(self.root.join(SHARED))?;
        fs::rename(theirs, ours)
    }

    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_escape_are_refused() {
        let dir = AllocDir { root: "/x".into() };
        for name in ["", "alloc", "..", "a/b", "../../etc", ".hidden", "a\0b"] {
            assert!(dir.dirs(&name.into()).is_err(), "{name:?}");
        }
        assert!(dir.dirs(&"web server".into()).is_ok());
    }

    #[test]
    fn creates_twice_and_hands_data_on() {
        let t = tempfile::tempdir().expect("a directory");
        let (a, b) = (AllocDir { root: t.path().join("a") }, AllocDir { root: t.path().join("b") });
        let dirs = a.create(&"t".into(), "").expect("creates");
        a.create(&"t".into(), "").expect("creates again");
        assert_eq!(fs::metadata(&dirs.secrets).expect("there").permissions().mode() & 0o777, 0o700);
        fs::write(dirs.shared.join("data/f"), "1").expect("writes");
        b.inherit(&a).expect("inherits");
        assert!(b.root.join("alloc/data/f").exists());
        a.remove().expect("removes");
        a.remove().expect("removes nothing");
    }
}
