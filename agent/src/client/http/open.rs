//! Opening files inside an allocation's directory, and nowhere else.
//!
//! The kernel resolves the path (`openat2` with RESOLVE_BENEATH), so neither `..` nor a link that a task planted or
//! swaps meanwhile leads out. What was opened is looked at afterwards: secrets are refused by where they really are.

use std::{
    fs::{self, File, Metadata},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
};

use super::Error;

/// The longest path that is looked at.
const PATH_MAX: usize = 4096;
/// Directories whose content nobody reads over HTTP.
const SECRET: [&str; 2] = ["secrets", "private"];

/// Something inside an allocation's directory.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
    pub meta: Metadata,
    /// Where it really is, relative to the allocation.
    pub path: PathBuf,
}

/// Open for reading; directories too.
pub fn open(root: &Path, wanted: &str) -> Result<Opened, Error> {
    if wanted.len() > PATH_MAX || wanted.contains('\0') {
        return Err(Error::bad("path is not usable"));
    }
    let inside = relative(wanted)?;
    let base = File::open(root)
        .map_err(|e| Error::missing(format!("the allocation's directory is gone (collected, or never made): {e}")))?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd: OwnedFd = openat2(&base, &inside, how).map_err(|e| refusal(wanted, e))?;
    let file = File::from(fd);
    let failed = |e: io::Error| Error::bad(format!("{wanted}: {e}"));
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() && !meta.is_dir() {
        return Err(Error::bad(format!("{wanted}: not a regular file")));
    }
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(failed)?;
    let root = root.canonicalize().map_err(failed)?;
    let path = real.strip_prefix(&root).map_err(|_| escape(wanted))?.to_owned();
    let second = path.components().nth(1).and_then(|c| c.as_os_str().to_str());
    let task = path.components().next().is_some_and(|c| c.as_os_str() != "alloc");
    if task && second.is_some_and(|s| SECRET.contains(&s)) {
        return Err(Error(http::StatusCode::FORBIDDEN, format!("Reading secret file prohibited: {wanted}")));
    }
    Ok(Opened { file, meta, path })
}

/// `/a/./b` becomes `a/b`; `..` is refused before the kernel is asked.
fn relative(wanted: &str) -> Result<PathBuf, Error> {
    let mut inside = PathBuf::new();
    for part in Path::new(wanted).components() {
        match part {
            Component::Normal(p) => inside.push(p),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(escape(wanted)),
        }
    }
    if inside.as_os_str().is_empty() {
        inside.push(".");
    }
    Ok(inside)
}

fn escape(wanted: &str) -> Error {
    Error::bad(format!("Path escapes the alloc directory: {wanted}"))
}

fn refusal(wanted: &str, e: Errno) -> Error {
    match e {
        Errno::ENOENT | Errno::ENOTDIR => Error::missing(format!("{wanted}: no such file or directory")),
        Errno::EXDEV | Errno::ELOOP => escape(wanted),
        Errno::ENOSYS => Error(
            http::StatusCode::NOT_IMPLEMENTED,
            "this kernel is older than 5.6 and cannot open files safely below a directory".into(),
        ),
        e => Error::bad(format!("{wanted}: {e}")),
    }
}

/// The entries of an opened directory.
pub fn entries(dir: &Opened) -> io::Result<Vec<(String, Metadata)>> {
    let mut all = Vec::new();
    for e in fs::read_dir(format!("/proc/self/fd/{}", dir.file.as_raw_fd()))?.flatten() {
        // Of a link the link itself is described.
        if let Ok(meta) = e.path().symlink_metadata() {
            all.push((e.file_name().to_string_lossy().into_owned(), meta));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_reached() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("alloc-id");
        fs::create_dir_all(root.join("alloc/logs")).expect("creates");
        fs::create_dir_all(root.join("t/secrets")).expect("creates");
        fs::write(dir.path().join("outside"), "x").expect("writes");
        fs::write(root.join("alloc/logs/f"), "inside").expect("writes");
        fs::write(root.join("t/secrets/token"), "x").expect("writes");
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).expect("links");
        link("../outside", "alloc/up");
        link("/etc/passwd", "alloc/abs");
        link("../t/secrets/token", "alloc/sneaky");
        link("logs/f", "alloc/fine");
        link("/proc/self/root/etc/passwd", "alloc/magic");
        for path in ["../outside", "/../outside", "alloc/../../outside", "alloc/up", "alloc/abs", "alloc/magic", "\0"] {
            assert!(open(&root, path).is_err(), "{path:?}");
        }
        for path in ["t/secrets/token", "alloc/sneaky", "/t/secrets"] {
            assert_eq!(open(&root, path).expect_err("secret").0, http::StatusCode::FORBIDDEN, "{path}");
        }
        assert_eq!(open(&root, "alloc/fine").expect("inside").path, Path::new("alloc/logs/f"));
        assert_eq!(open(&root, "nope").expect_err("missing").0, http::StatusCode::NOT_FOUND);
        let names: Vec<_> =
            entries(&open(&root, "/").expect("root")).expect("lists").into_iter().map(|e| e.0).collect();
        assert_eq!(names, ["alloc", "t"]);
    }

    #[test]
    fn pipes_are_not_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        nix::unistd::mkfifo(&dir.path().join("p"), nix::sys::stat::Mode::S_IRWXU).expect("makes");
        assert!(open(dir.path(), "p").is_err());
    }
}
