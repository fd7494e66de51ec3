//! Files and logs as they grow: framed JSON, or plain text.
//!
//! A reader thread per request feeds a short channel; it ends when the client hangs up, the file is over, or (for
//! logs that are followed) the task is dead and everything was sent.

use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{TaskName, alloc::TaskPhase};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Handle, fs, here, open};
use crate::driver::shim::logs::number_of;

/// The most of a file in one frame.
const FRAME_MAX: usize = 64 * 1024;
/// How often a file that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// An empty frame tells a silent connection from a dead one.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[derive(Debug, Default, Deserialize)]
pub struct Wish {
    #[serde(default)]
    path: String,
    #[serde(default)]
    task: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    follow: Option<String>,
    #[serde(default)]
    offset: Option<i64>,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    plain: Option<String>,
}

fn flag(name: &str, value: Option<&str>, unset: bool) -> Result<bool, Error> {
    match value {
        None => Ok(unset),
        Some("" | "true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Error::bad(format!("failed to parse {name} field to boolean"))),
    }
}

impl Wish {
    /// Offset from the start or from the end.
    fn place(&self) -> Result<(u64, bool), Error> {
        let offset = self.offset.unwrap_or(0);
        let offset = u64::try_from(offset).map_err(|_| Error::bad("offset must not be negative"))?;
        match self.origin.as_str() {
            "" | "start" => Ok((offset, false)),
            "end" => Ok((offset, true)),
            _ => Err(Error::bad("origin must be start or end")),
        }
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Frame {
    #[serde(skip_serializing_if = "String::is_empty")]
    file: String,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    file_event: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Where frames go.
struct Out {
    tx: mpsc::Sender<Bytes>,
    plain: bool,
    last: Instant,
}

impl Out {
    /// `false` when the client has hung up.
    fn data(&mut self, file: &str, offset: u64, data: &[u8]) -> bool {
        self.last = Instant::now();
        if self.plain {
            return self.tx.blocking_send(Bytes::copy_from_slice(data)).is_ok();
        }
        self.frame(&Frame { file: file.to_owned(), offset, data: STANDARD.encode(data), ..Frame::default() })
    }

    fn event(&mut self, file: &str, offset: u64, event: &str) -> bool {
        let (file, file_event) = (file.to_owned(), event.to_owned());
        self.plain || self.frame(&Frame { file, offset, file_event, ..Frame::default() })
    }

    fn frame(&self, frame: &Frame) -> bool {
        serde_json::to_vec(frame).is_ok_and(|json| self.tx.blocking_send(json.into()).is_ok())
    }

    /// Nothing new: wait a little, and say now and then that we are still here.
    fn idle(&mut self) -> bool {
        std::thread::sleep(LOOK_EVERY);
        if self.tx.is_closed() {
            return false;
        }
        if self.last.elapsed() < HEARTBEAT || self.plain {
            return true;
        }
        self.last = Instant::now();
        self.tx.blocking_send(Bytes::from_static(b"{}")).is_ok()
    }
}

fn respond(plain: bool, work: impl FnOnce(Out) + Send + 'static) -> Response {
    let (tx, rx) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || work(Out { tx, plain, last: Instant::now() }));
    let chunks = futures_util::stream::unfold(rx, |mut rx| async move {
        rx.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), rx))
    });
    let body = Body::from_stream(chunks);
    if plain {
        (fs::plain_headers(), body).into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// One file.
pub async fn file(
    State(client): State<Handle>,
    Path(id): Path<String>,
    Query(wish): Query<Wish>,
) -> Result<Response, Error> {
    if wish.path.is_empty() {
        return Err(Error::bad("must provide a file path to stream"));
    }
    let follow = flag("follow", wish.follow.as_deref(), true)?;
    let plain = flag("plain", wish.plain.as_deref(), false)?;
    let (offset, from_end) = wish.place()?;
    let root = fs::root(&client, &id)?;
    let path = wish.path;
    // Clients of this route expect 400 for a file that is not there.
    let opened = open::open(&root, &path).map_err(|e| Error::bad(e.1))?;
    if opened.meta.is_dir() {
        return Err(Error::bad(format!("file {path:?} is a directory")));
    }
    let size = opened.meta.len();
    let start = if from_end { size.saturating_sub(offset) } else { offset };
    Ok(respond(plain, move |mut out| {
        let (mut file, mut at) = (opened.file, start);
        loop {
            match send_rest(&mut out, &mut file, &path, &mut at) {
                Some(0) if !follow => return,
                Some(0) => {
                    let now = file.metadata().map_or(at, |m| m.len());
                    if now < at {
                        at = 0;
                        if !out.event(&path, 0, "file truncated") {
                            return;
                        }
                    } else if open::open(&root, &path).is_err() {
                        out.event(&path, at, "file deleted");
                        return;
                    }
                    if !out.idle() {
                        return;
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
    }))
}

/// Send what is there from `at` on, one frame; how much it was, or `None` when it is over.
fn send_rest(out: &mut Out, file: &mut File, name: &str, at: &mut u64) -> Option<usize> {
    let data = fs::read_some(file, *at, FRAME_MAX).ok()?;
    if data.is_empty() {
        return Some(0);
    }
    let sent = out.data(name, *at, &data);
    *at += data.len() as u64;
    sent.then_some(data.len())
}

/// The log files of a task, oldest first, as one.
pub async fn logs(
    State(client): State<Handle>,
    Path(id): Path<String>,
    Query(wish): Query<Wish>,
) -> Result<Response, Error> {
    let follow = flag("follow", wish.follow.as_deref(), false)?;
    let plain = flag("plain", wish.plain.as_deref(), false)?;
    let (offset, from_end) = wish.place()?;
    if wish.task.is_empty() {
        return Err(Error::bad("must provide task name"));
    }
    let stream = match wish.kind.as_str() {
        "stdout" => "stdout",
        "stderr" => "stderr",
        _ => return Err(Error::bad("log type must be stdout or stderr")),
    };
    let alloc = here(&client, &id)?;
    let task = TaskName::from(wish.task.as_str());
    let state = client.services.replica.snapshot();
    let known = state.job_of(&alloc).and_then(|j| j.group(&alloc.group)?.task(&task).map(|_| ())).is_some();
    if !known {
        return Err(Error::missing(format!("unknown task name {:?}", wish.task)));
    }
    if !alloc.tasks.get(&task).is_some_and(|t| !t.started_at.is_zero() || !t.finished_at.is_zero()) {
        return Err(Error::missing(format!("task {:?} not started yet. No logs available", wish.task)));
    }
    let log = Log { root: fs::root(&client, &id)?, task: wish.task, stream };
    let dead = move || {
        let state = client.services.replica.snapshot();
        state.allocs.get(&alloc.id).is_none_or(|a| a.tasks.get(&task).is_none_or(|t| t.phase == TaskPhase::Dead))
    };
    Ok(respond(plain, move |mut out| log.send(&mut out, follow, offset, from_end, &dead)))
}

/// The rotated files of one stream of one task.
struct Log {
    root: PathBuf,
    task: String,
    stream: &'static str,
}

impl Log {
    fn path(&self, n: u64) -> String {
        format!("alloc/logs/{}.{}.{n}", self.task, self.stream)
    }

    /// Numbers and sizes, oldest first.
    fn files(&self) -> Vec<(u64, u64)> {
        let Ok(dir) = open::open(&self.root, "alloc/logs") else { return Vec::new() };
        let mut files: Vec<(u64, u64)> = open::entries(&dir)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, m)| Some((number_of(&name, &self.task, self.stream)?, m.len())))
            .collect();
        files.sort_unstable();
        files
    }

    fn send(&self, out: &mut Out, follow: bool, offset: u64, from_end: bool, dead: &dyn Fn() -> bool) {
        let files = self.files();
        let total: u64 = files.iter().map(|(_, size)| size).sum();
        let skip = if from_end { total.saturating_sub(offset) } else { offset.min(total) };
        let (mut number, mut at) = locate(&files, skip);
        let mut over = false;
        loop {
            let moved = self.send_file(out, number, &mut at);
            let Some(moved) = moved else { return };
            if moved {
                continue;
            }
            // The next file exists only once this one is complete.
            if let Some((next, _)) = self.files().into_iter().find(|(n, _)| *n > number) {
                if let Some(true) = self.send_file(out, number, &mut at) {
                    continue;
                }
                (number, at) = (next, 0);
                continue;
            }
            if !follow || over {
                return;
            }
            // Once more after its death: its last words may still have been on their way.
            over = dead();
            if !out.idle() {
                return;
            }
        }
    }

    /// `Some(true)` when something was sent, `None` when the client has hung up.
    fn send_file(&self, out: &mut Out, number: u64, at: &mut u64) -> Option<bool> {
        let path = self.path(number);
        let Ok(mut opened) = open::open(&self.root, &path) else { return Some(false) };
        send_rest(out, &mut opened.file, &path, at).map(|n| n > 0)
    }
}

/// The file and the place in it that lie `skip` bytes after the beginning of the oldest.
fn locate(files: &[(u64, u64)], mut skip: u64) -> (u64, u64) {
    for (number, size) in files {
        if skip <= *size {
            return (*number, skip);
        }
        skip -= size;
    }
    files.last().map_or((0, 0), |(n, size)| (*n, *size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_across_files() {
        let files = [(3, 10), (4, 10), (5, 2)];
        assert_eq!(locate(&files, 0), (3, 0));
        assert_eq!(locate(&files, 15), (4, 5));
        assert_eq!(locate(&files, 22), (5, 2));
        assert_eq!(locate(&files, 99), (5, 2));
        assert_eq!(locate(&[], 5), (0, 0));
    }

    #[test]
    fn flags() {
        assert!(flag("follow", Some("true"), false).expect("true"));
        assert!(flag("follow", None, true).expect("unset"));
        assert!(flag("follow", Some("maybe"), false).is_err());
    }
}
