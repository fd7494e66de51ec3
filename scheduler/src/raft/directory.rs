//! The server's data directory: whose it is, which format it has, and that one agent alone uses it.
//!
//! ```text
//! <data_dir>/raft/VERSION    "trine raft 1", the cluster's id, this voter's id; written first, never changed
//! <data_dir>/raft/lock       held (flock) while an agent runs; the kernel releases it when the agent dies
//! <data_dir>/raft/log.redb   log, vote, purge point                       (file.rs)
//! <data_dir>/raft/snapshot   the newest snapshot, replaced by rename       (snapshot.rs)
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::Error;

/// The layout above. Raise it when an older binary could not read what this one writes.
const FORMAT: u32 = 1;
const MAGIC: &str = "trine raft";
/// VERSION is three short lines; more is not ours.
const MAX_VERSION_LEN: u64 = 1024;

/// Who this server is, for as long as its data directory lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn when the cluster was made: tells a replica whether an index of its own means anything here.
    pub cluster: Uuid,
    /// This voter's id; random, so that a wiped server can never come back under its old id.
    pub node: u64,
}

/// A locked directory. Dropping it releases the lock.
#[derive(Debug)]
pub struct Directory {
    pub root: PathBuf,
    pub identity: Identity,
    _lock: File,
}

impl Directory {
    /// Open `<data_dir>/raft`, making it when absent.
    pub fn claim(data_dir: &Path) -> Result<Self, Error> {
        let root = data_dir.join("raft");
        fs::create_dir_all(&root).map_err(Error::io("create the data directory", &root))?;
        let lock = lock(&root)?;
        let version = root.join("VERSION");
        let identity = if version.exists() {
            read_version(&root, &version)?
        } else {
            refuse_foreign(&root)?;
            let identity = fresh_identity();
            write_version(&version, identity).map_err(Error::io("write", &version))?;
            sync_directory(data_dir).map_err(Error::io("fsync", data_dir))?;
            identity
        };
        Ok(Self { root, identity, _lock: lock })
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("log.redb")
    }

    pub fn snapshot(&self) -> PathBuf {
        self.root.join("snapshot")
    }
}

fn fresh_identity() -> Identity {
    let cluster = Uuid::new_v4();
    let (node, _) = Uuid::new_v4().as_u64_pair();
    Identity { cluster, node: node.max(1) }
}

fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: root.to_owned(), lock: path }),
        Err(TryLockError::Error(source)) => Err(Error::Io { action: "lock", path, source }),
    }
}

/// Without a VERSION only what an interrupted first start leaves may be here.
fn refuse_foreign(root: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(root).map_err(Error::io("list", root))? {
        let name = entry.map_err(Error::io("list", root))?.file_name();
        if name != "lock" && name != "VERSION.tmp" {
            let detail = format!("it holds {} but no VERSION file", name.to_string_lossy());
            return Err(Error::Foreign { dir: root.to_owned(), detail });
        }
    }
    Ok(())
}

fn write_version(path: &Path, identity: Identity) -> io::Result<()> {
    let text = format!("{MAGIC} {FORMAT}\ncluster {}\nnode {}\n", identity.cluster, identity.node);
    replace(path, &[text.as_bytes()])
}

fn read_version(root: &Path, path: &Path) -> Result<Identity, Error> {
    let damaged =
        |detail: &str| Error::Damaged { path: path.to_owned(), dir: root.to_owned(), detail: detail.to_owned() };
    let len = fs::metadata(path).map_err(Error::io("read", path))?.len();
    if len > MAX_VERSION_LEN {
        return Err(damaged("it is too long"));
    }
    let text = fs::read(path).map_err(Error::io("read", path))?;
    let text = str::from_utf8(&text).map_err(|_| damaged("it is not text"))?;
    let mut lines = text.lines();
    let format = lines.next().and_then(|l| l.strip_prefix(MAGIC)).and_then(|n| n.trim().parse::<u32>().ok());
    match format {
        None => {
            let detail = "its VERSION file does not begin with `trine raft`".to_owned();
            return Err(Error::Foreign { dir: root.to_owned(), detail });
        }
        Some(found) if found > FORMAT => {
            return Err(Error::Newer { path: path.to_owned(), dir: root.to_owned(), found, supported: FORMAT });
        }
        Some(_) => {}
    }
    let mut field = |name: &str| lines.next().and_then(|l| l.strip_prefix(name)).map(str::trim);
    let cluster = field("cluster ").and_then(|v| v.parse().ok()).ok_or_else(|| damaged("no cluster id"))?;
    let node = field("node ").and_then(|v| v.parse().ok()).ok_or_else(|| damaged("no node id"))?;
    Ok(Identity { cluster, node })
}

/// Put `parts` at `path` so that after a crash either the old or the whole new content is there.
pub fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let tmp = path.with_extension("tmp");
    let mut file = File::create(&tmp)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    drop(file);
    fs::rename(&tmp, path)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// A rename or a new file is durable only once its directory is.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}
