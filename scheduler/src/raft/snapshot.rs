//! The snapshot file: the whole state and where in the log it stands, replaced by rename.
//!
//! ```text
//! "TRINESNP" · format u32 · meta length u32 · state length u64 · postcard(meta) · State::encode · crc32 of all before
//! ```
//! Integers are little endian. The metadata lives in the file it describes, so that the two cannot disagree.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use model::State;

use super::{directory, types::SnapshotMeta};
use crate::Error;

const MAGIC: &[u8; 8] = b"TRINESNP";
const FORMAT: u32 = 1;
const HEADER: usize = 24;

/// A snapshot in memory. It shares structure with the live state, so holding it costs what changed since.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub meta: SnapshotMeta,
    pub state: Arc<State>,
}

/// The newest snapshot, in memory and on disk.
#[derive(Clone, Debug)]
pub struct Snapshots {
    path: PathBuf,
    current: Arc<Mutex<Option<Snapshot>>>,
}

impl Snapshots {
    /// Read what the last run left.
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        let tmp = path.with_extension("tmp");
        if tmp.exists() {
            fs::remove_file(&tmp).map_err(Error::io("remove", &tmp))?;
        }
        let current = if path.exists() { Some(read(&path)?) } else { None };
        Ok(Self { path, current: Arc::new(Mutex::new(current)) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn current(&self) -> Option<Snapshot> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Make `snapshot` the current one, unless a newer one is. Blocks on the disk.
    pub fn save(&self, snapshot: Snapshot) -> io::Result<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|c| c.meta.last_log_id >= snapshot.meta.last_log_id) {
            return Ok(());
        }
        let state = snapshot.state.encode().map_err(io::Error::other)?;
        let meta = postcard::to_stdvec(&snapshot.meta).map_err(io::Error::other)?;
        let mut head = Vec::with_capacity(HEADER + meta.len());
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&FORMAT.to_le_bytes());
        head.extend_from_slice(&u32::try_from(meta.len()).map_err(io::Error::other)?.to_le_bytes());
        head.extend_from_slice(&(state.len() as u64).to_le_bytes());
        head.extend_from_slice(&meta);
        let mut sum = crc32fast::Hasher::new();
        sum.update(&head);
        sum.update(&state);
        directory::replace(&self.path, &[&head, &state, &sum.finalize().to_le_bytes()])?;
        *current = Some(snapshot);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Snapshot, Error> {
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    parse(&bytes).map_err(|bad| match bad {
        Bad::Newer(found) => Error::Newer { path: path.to_owned(), dir, found, supported: FORMAT },
        Bad::Damaged(detail) => Error::Damaged { path: path.to_owned(), dir, detail },
    })
}

enum Bad {
    Newer(u32),
    Damaged(String),
}

fn parse(bytes: &[u8]) -> Result<Snapshot, Bad> {
    let damaged = |detail: &str| Bad::Damaged(detail.to_owned());
    let short = || damaged("it is cut short");
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
    if magic != MAGIC {
        return Err(damaged("it does not begin as a snapshot does"));
    }
    let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    match u32::from_le_bytes(*format) {
        FORMAT => {}
        found if found > FORMAT => return Err(Bad::Newer(found)),
        found => return Err(damaged(&format!("its format is {found}"))),
    }
    let (meta_len, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (state_len, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let meta_len = usize::try_from(u32::from_le_bytes(*meta_len)).map_err(|_| short())?;
    let state_len = usize::try_from(u64::from_le_bytes(*state_len)).map_err(|_| short())?;
    let (meta, rest) = rest.split_at_checked(meta_len).ok_or_else(short)?;
    let (state, sum) = rest.split_at_checked(state_len).ok_or_else(short)?;
    let sum: [u8; 4] = sum.try_into().map_err(|_| damaged("its length does not match its header"))?;
    if crc32fast::hash(&bytes[..bytes.len() - sum.len()]) != u32::from_le_bytes(sum) {
        return Err(damaged("its checksum does not match"));
    }
    let meta = postcard::from_bytes(meta).map_err(|e| Bad::Damaged(format!("its metadata does not decode: {e}")))?;
    let state = State::decode(state).map_err(|e| Bad::Damaged(e.to_string()))?;
    Ok(Snapshot { meta, state: Arc::new(state) })
}
