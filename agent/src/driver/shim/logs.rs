//! Rotated log files: `<task>.<stream>.<n>`, `n` rising, the oldest deleted.
//!
//! A line is kept whole across files where its end is within reach. A full disk loses output, never the task.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
};

use nix::libc;

use crate::driver::LogTarget;

/// How far back a line end is looked for when a file is full.
const LOOKBACK: usize = 32 * 1024;

/// One stream's files.
#[derive(Debug)]
pub struct Rotator {
    target: LogTarget,
    stream: &'static str,
    file: Option<File>,
    number: u64,
    written: u64,
    lost: u64,
}

/// The number of a log file of this task and stream.
#[must_use]
pub fn number_of(name: &str, task: &str, stream: &str) -> Option<u64> {
    name.strip_prefix(task)?.strip_prefix('.')?.strip_prefix(stream)?.strip_prefix('.')?.parse().ok()
}

impl Rotator {
    /// Goes on with the newest file of an earlier run.
    #[must_use]
    pub fn new(target: LogTarget, stream: &'static str) -> Self {
        let number = numbers(&target, stream).into_iter().max().unwrap_or(0);
        Self { target, stream, file: None, number, written: 0, lost: 0 }
    }

    fn path(&self, n: u64) -> std::path::PathBuf {
        self.target.dir.join(format!("{}.{}.{n}", self.target.name, self.stream))
    }

    /// Append; what cannot be written is counted and said once writing works again.
    pub fn write(&mut self, mut data: &[u8]) {
        if self.target.disabled {
            return;
        }
        while !data.is_empty() {
            let room = match self.room() {
                Ok(room) => room,
                Err(_) => {
                    self.lost += data.len() as u64;
                    return;
                }
            };
            let (now, later) = data.split_at(cut(data, room));
            if let Err(e) = self.append(now) {
                self.lost += now.len() as u64;
                // Try a fresh handle next time: the directory may have been replaced.
                self.file = None;
                if e.kind() == io::ErrorKind::StorageFull {
                    self.lost += later.len() as u64;
                    return;
                }
            }
            if !later.is_empty() {
                // The cut was made at a line end: the rest belongs into the next file.
                self.written = self.target.max_bytes;
            }
            data = later;
        }
    }

    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        let Some(f) = &mut self.file else { return Err(io::Error::other("no log file")) };
        if self.lost > 0 {
            let note = format!("\n[trine] {} bytes of this log could not be written\n", self.lost);
            f.write_all(note.as_bytes())?;
            self.written += note.len() as u64;
            self.lost = 0;
        }
        f.write_all(data)?;
        self.written += data.len() as u64;
        Ok(())
    }

    /// Bytes the current file still takes; opens the next one when it is full.
    fn room(&mut self) -> io::Result<usize> {
        if self.file.is_some() && self.written >= self.target.max_bytes {
            self.file = None;
            self.number += 1;
        }
        if self.file.is_none() {
            let f = self.open()?;
            self.written = f.metadata()?.len();
            if self.written >= self.target.max_bytes {
                self.number += 1;
                let f = self.open()?;
                self.written = f.metadata()?.len();
                self.file = Some(f);
            } else {
                self.file = Some(f);
            }
            self.drop_old();
        }
        Ok(usize::try_from(self.target.max_bytes.saturating_sub(self.written)).unwrap_or(usize::MAX).max(1))
    }

    fn open(&self) -> io::Result<File> {
        // A task may write to the log directory: a link it plants there is not followed.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.path(self.number))
    }

    fn drop_old(&self) {
        let keep_from = (self.number + 1).saturating_sub(u64::from(self.target.max_files));
        for n in numbers(&self.target, self.stream).into_iter().filter(|n| *n < keep_from) {
            let _ = fs::remove_file(self.path(n));
        }
    }
}

fn numbers(target: &LogTarget, stream: &str) -> Vec<u64> {
    let Ok(dir) = fs::read_dir(&target.dir) else { return Vec::new() };
    dir.flatten().filter_map(|e| number_of(e.file_name().to_str()?, &target.name, stream)).collect()
}

/// How much of `data` goes into a file with `room` bytes left: up to the last line end, if one is near.
fn cut(data: &[u8], room: usize) -> usize {
    if data.len() <= room {
        return data.len();
    }
    let from = room.saturating_sub(LOOKBACK);
    data[from..room].iter().rposition(|b| *b == b'\n').map_or(room, |i| from + i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(dir: &std::path::Path, max_files: u32, max_bytes: u64) -> LogTarget {
        LogTarget { dir: dir.to_owned(), name: "t".into(), max_files, max_bytes, disabled: false }
    }

    #[test]
    fn rotates_and_deletes_the_oldest() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut r = Rotator::new(target(dir.path(), 2, 10), "stdout");
        for i in 0..5 {
            r.write(format!("line {i}\n").as_bytes());
        }
        let mut left = numbers(&r.target, "stdout");
        left.sort_unstable();
        assert_eq!(left.len(), 2);
        let all: String = left.iter().map(|n| fs::read_to_string(r.path(*n)).expect("reads")).collect();
        assert!(all.ends_with("line 4\n"), "{all:?}");
        let mut again = Rotator::new(target(dir.path(), 2, 10), "stdout");
        again.write(b"more\n");
        assert!(numbers(&again.target, "stdout").len() <= 2);
    }

    #[test]
    fn does_not_follow_links() {
        let dir = tempfile::tempdir().expect("a directory");
        let outside = dir.path().join("outside");
        fs::write(&outside, "").expect("writes");
        std::os::unix::fs::symlink(&outside, dir.path().join("t.stderr.0")).expect("links");
        Rotator::new(target(dir.path(), 2, 10), "stderr").write(b"secret");
        assert_eq!(fs::read_to_string(outside).expect("reads"), "");
    }

    #[test]
    fn lines_stay_whole() {
        assert_eq!(cut(b"ab\ncd\nef", 7), 6);
        assert_eq!(cut(b"abcdef", 3), 3);
        assert_eq!(cut(b"ab", 3), 2);
    }
}
