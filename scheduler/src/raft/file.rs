//! `log.redb`: the log, the vote and the purge point in one file, changed by whole transactions.
//!
//! ```text
//! table "entries"  index (u64) → crc32 (4 bytes, little endian) · format (1 byte) · postcard(entry)
//! table "meta"     "vote" | "committed" | "purged" → crc32 · format · postcard(value)
//! ```
//! Every value carries its own checksum, because redb verifies pages only when the file is opened. Everything here
//! blocks; `writer.rs` and `spawn_blocking` call it. The file is made under another name and renamed, so that an
//! agent killed in its first second leaves nothing half made.

use std::{
    fs,
    io::{self, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use openraft::entry::RaftEntry;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    directory,
    types::{Entry, LogId, Vote},
};
use crate::Error;

const ENTRIES: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("entries");
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");

/// The version of the values.
const FORMAT: u8 = 1;
/// Pages redb keeps in memory. Reads come from the in-memory tail; the cache serves the B-tree's upper pages.
const CACHE_BYTES: usize = 16 << 20;
/// Entries deleted per transaction, so that a purge never delays an append by more than a few milliseconds.
pub const PURGE_CHUNK: u64 = 1000;

/// One change of the log, applied in the order given.
#[derive(Debug)]
pub enum Change<'a> {
    Append(&'a [Entry]),
    Vote(&'a Vote),
    Committed(&'a LogId),
    /// Drop this index and everything after it.
    TruncateFrom(u64),
    /// The log begins after this entry. Its bytes go later, in chunks.
    Purged(&'a LogId),
    /// Delete entries of this range that lie before the purge point.
    Sweep {
        from: u64,
        below: u64,
    },
}

/// What the file held when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
    pub last: Option<LogId>,
    /// Lowest index still stored although purged.
    pub leftover: Option<u64>,
}

/// The open file.
#[derive(Debug)]
pub struct LogFile {
    db: Database,
    path: PathBuf,
}

impl LogFile {
    /// Open and verify the whole log: pages, checksums, no hole.
    pub fn open(path: &Path) -> Result<(Self, Loaded), Error> {
        if !path.exists() {
            create(path)?;
        }
        // redb may panic on a page that is not what it wrote; to the user that is a damaged file like any other.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
            let file = Self { db: builder.open(path).map_err(|e| open_error(path, e))?, path: path.to_owned() };
            let loaded = file.load().map_err(|e| damaged(path, e.to_string()))?;
            Ok((file, loaded))
        }));
        opened.unwrap_or_else(|_| Err(damaged(path, "its pages contradict each other".to_owned())))
    }

    /// A log in any storage: how tests fail a write.
    #[cfg(test)]
    pub fn with_backend(backend: impl redb::StorageBackend) -> Self {
        let db = Database::builder().create_with_backend(backend).expect("an empty backend");
        make_tables(&db).expect("an empty backend");
        Self { db, path: PathBuf::from("raft/log.redb") }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn load(&self) -> io::Result<Loaded> {
        let txn = self.db.begin_read().map_err(to_io)?;
        let meta = txn.open_table(META).map_err(to_io)?;
        let mut loaded = Loaded {
            vote: get(&meta, "vote")?,
            committed: get(&meta, "committed")?,
            purged: get(&meta, "purged")?,
            last: None,
            leftover: None,
        };
        loaded.last = loaded.purged;
        let first = loaded.purged.map_or(0, |p| p.index + 1);
        let entries = txn.open_table(ENTRIES).map_err(to_io)?;
        if let Some((key, _)) = entries.first().map_err(to_io)? {
            loaded.leftover = Some(key.value()).filter(|k| *k < first);
        }
        for (expected, item) in (first..).zip(entries.range(first..).map_err(to_io)?) {
            let (key, value) = item.map_err(to_io)?;
            let entry = open_entry(key.value(), value.value())?;
            if key.value() != expected {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("entry {expected} is missing")));
            }
            loaded.last = Some(entry.log_id);
        }
        // The commit point is written lazily and may be behind; it is never ahead of the entries.
        if loaded.committed > loaded.last {
            loaded.committed = loaded.last;
        }
        Ok(loaded)
    }

    /// Make all changes durable in one transaction, or none.
    pub fn commit(&self, changes: &[Change<'_>]) -> io::Result<()> {
        let txn = self.db.begin_write().map_err(to_io)?;
        {
            let mut entries = txn.open_table(ENTRIES).map_err(to_io)?;
            let mut meta = txn.open_table(META).map_err(to_io)?;
            for change in changes {
                match change {
                    Change::Append(new) => {
                        for entry in *new {
                            entries.insert(entry.index(), seal(entry)?.as_slice()).map_err(to_io)?;
                        }
                    }
                    Change::Vote(vote) => put(&mut meta, "vote", vote)?,
                    Change::Committed(id) => put(&mut meta, "committed", id)?,
                    Change::TruncateFrom(index) => {
                        entries.retain_in(*index.., |_, _| false).map_err(to_io)?;
                    }
                    Change::Purged(id) => put(&mut meta, "purged", id)?,
                    Change::Sweep { from, below } => {
                        entries.retain_in(*from..*below, |_, _| false).map_err(to_io)?;
                    }
                }
            }
        }
        txn.commit().map_err(to_io)
    }

    /// Entries of `from..end` that are in the file, in order, stopping once `max_bytes` is passed; and whether these
    /// are all of them.
    pub fn read(&self, from: u64, end: u64, max_bytes: usize) -> io::Result<(Vec<Entry>, bool)> {
        let txn = self.db.begin_read().map_err(to_io)?;
        let entries = txn.open_table(ENTRIES).map_err(to_io)?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for item in entries.range(from..end).map_err(to_io)? {
            let (key, value) = item.map_err(to_io)?;
            bytes += value.value().len();
            found.push(open_entry(key.value(), value.value())?);
            if bytes >= max_bytes {
                return Ok((found, false));
            }
        }
        Ok((found, true))
    }
}

fn create(path: &Path) -> Result<(), Error> {
    let tmp = path.with_extension("new");
    let make = || -> io::Result<()> {
        if tmp.exists() {
            fs::remove_file(&tmp)?;
        }
        let db = Database::create(&tmp).map_err(to_io)?;
        make_tables(&db)?;
        db.close().map_err(to_io)?;
        fs::rename(&tmp, path)?;
        directory::sync_directory(path.parent().unwrap_or(Path::new("/")))
    };
    make().map_err(Error::io("create", path))
}

fn make_tables(db: &Database) -> io::Result<()> {
    let txn = db.begin_write().map_err(to_io)?;
    txn.open_table(ENTRIES).map_err(to_io)?;
    txn.open_table(META).map_err(to_io)?;
    txn.commit().map_err(to_io)
}

fn damaged(path: &Path, detail: String) -> Error {
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    Error::Damaged { path: path.to_owned(), dir, detail }
}

fn open_error(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
            Error::Locked { dir, lock: path.to_owned() }
        }
        // redb reports a file that is no database of its own as invalid data.
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != ErrorKind::InvalidData => {
            Error::Io { action: "open", path: path.to_owned(), source }
        }
        other => damaged(path, other.to_string()),
    }
}

/// redb's errors as I/O errors, keeping the kind (a full disk stays a full disk).
fn to_io(error: impl Into<redb::Error>) -> io::Error {
    match error.into() {
        redb::Error::Io(e) => e,
        other => io::Error::other(other),
    }
}

fn seal<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let bytes = vec![0, 0, 0, 0, FORMAT];
    let mut bytes = postcard::to_extend(value, bytes).map_err(io::Error::other)?;
    let sum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let Some((sum, rest)) = bytes.split_first_chunk::<4>() else { return Err("is cut short".to_owned()) };
    if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
        return Err("has a wrong checksum".to_owned());
    }
    match rest.split_first() {
        Some((&FORMAT, body)) => postcard::from_bytes(body).map_err(|e| format!("does not decode: {e}")),
        Some((found, _)) => Err(format!("has format {found}, this binary knows {FORMAT}")),
        None => Err("is cut short".to_owned()),
    }
}

fn open_entry(index: u64, bytes: &[u8]) -> io::Result<Entry> {
    let invalid = |why: String| io::Error::new(ErrorKind::InvalidData, format!("entry {index} {why}"));
    let entry: Entry = unseal(bytes).map_err(invalid)?;
    if entry.index() != index {
        return Err(invalid(format!("says it is entry {}", entry.index())));
    }
    Ok(entry)
}

fn put<T: Serialize>(table: &mut redb::Table<'_, &'static str, &'static [u8]>, key: &str, value: &T) -> io::Result<()> {
    table.insert(key, seal(value)?.as_slice()).map_err(to_io)?;
    Ok(())
}

fn get<T: DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> io::Result<Option<T>> {
    let Some(bytes) = table.get(key).map_err(to_io)? else { return Ok(None) };
    let value = unseal(bytes.value());
    value.map(Some).map_err(|why| io::Error::new(ErrorKind::InvalidData, format!("the {key} {why}")))
}
