//! Listing and reading files of an allocation.

use std::{
    fs::Metadata,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::UNIX_EPOCH,
};

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::{Error, Handle, here, json, open, open::Opened};

#[derive(Debug, Default, Deserialize)]
pub struct At {
    #[serde(default)]
    path: String,
    #[serde(default)]
    offset: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    name: String,
    is_dir: bool,
    size: u64,
    file_mode: String,
    mod_time: String,
    content_type: String,
}

fn info(name: String, m: &Metadata) -> Info {
    let time = m.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Info {
        is_dir: m.is_dir(),
        size: m.len(),
        file_mode: mode(m),
        mod_time: rfc3339(time.as_secs(), time.subsec_nanos()),
        // Never sniffed: a browser must not be led to run what a task wrote.
        content_type: if m.is_dir() { String::new() } else { "text/plain; charset=utf-8".into() },
        name,
    }
}

/// `drwxr-xr-x`, `-rw-r--r--`.
fn mode(m: &Metadata) -> String {
    let kind = if m.is_dir() {
        'd'
    } else if m.is_symlink() {
        'L'
    } else {
        '-'
    };
    let bits = m.permissions().mode();
    let letters = "rwxrwxrwx".chars().enumerate().map(|(i, c)| if bits & (1 << (8 - i)) != 0 { c } else { '-' });
    std::iter::once(kind).chain(letters).collect()
}

/// Seconds since 1970 as a date, by the civil calendar.
#[must_use]
pub fn rfc3339(secs: u64, nanos: u32) -> String {
    let (days, rest) = (secs / 86_400, secs % 86_400);
    // Days since 0000-03-01, in eras of 400 years.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let fraction = if nanos == 0 { String::new() } else { format!(".{nanos:09}").trim_end_matches('0').to_owned() };
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The directory of an allocation on this node.
pub fn root(client: &Handle, id: &str) -> Result<PathBuf, Error> {
    let alloc = here(client, id)?;
    Ok(client.services.config.data_dir.join("alloc").join(alloc.id.to_string()))
}

async fn opened(client: &Handle, id: &str, path: String) -> Result<Opened, Error> {
    let root = root(client, id)?;
    tokio::task::spawn_blocking(move || open::open(&root, &path))
        .await
        .map_err(|e| Error(http::StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?
}

fn name_of(o: &Opened) -> String {
    o.path.file_name().map_or_else(|| "/".into(), |n| n.to_string_lossy().into_owned())
}

pub async fn ls(State(client): State<Handle>, Path(id): Path<String>, Query(at): Query<At>) -> Result<Response, Error> {
    let dir = opened(&client, &id, at.path).await?;
    if !dir.meta.is_dir() {
        return Ok(json(&client, &[info(name_of(&dir), &dir.meta)]));
    }
    let entries = open::entries(&dir).map_err(|e| Error::bad(e.to_string()))?;
    let list: Vec<Info> = entries.into_iter().map(|(n, m)| info(n, &m)).collect();
    Ok(json(&client, &list))
}

pub async fn stat(
    State(client): State<Handle>,
    Path(id): Path<String>,
    Query(at): Query<At>,
) -> Result<Response, Error> {
    let file = opened(&client, &id, at.path).await?;
    Ok(json(&client, &info(name_of(&file), &file.meta)))
}

pub async fn cat(
    State(client): State<Handle>,
    Path(id): Path<String>,
    Query(at): Query<At>,
) -> Result<Response, Error> {
    let file = opened(&client, &id, at.path).await?;
    send(file, 0, u64::MAX)
}

pub async fn readat(
    State(client): State<Handle>,
    Path(id): Path<String>,
    Query(at): Query<At>,
) -> Result<Response, Error> {
    let offset = at.offset.ok_or_else(|| Error::bad("must provide offset parameter"))?;
    let limit = at.limit.ok_or_else(|| Error::bad("must provide limit parameter"))?;
    let file = opened(&client, &id, at.path).await?;
    send(file, offset, limit)
}

fn send(opened: Opened, offset: u64, limit: u64) -> Result<Response, Error> {
    if opened.meta.is_dir() {
        return Err(Error::bad(format!("file {:?} is a directory", opened.path)));
    }
    let mut file = opened.file;
    file.seek(SeekFrom::Start(offset)).map_err(|e| Error::bad(e.to_string()))?;
    // What is there now: a file that grows while it is sent must not make the answer endless.
    let size = opened.meta.len().saturating_sub(offset).min(limit);
    let reader = tokio::fs::File::from_std(file).take(size);
    let chunks = futures_util::stream::unfold((reader, vec![0; 64 * 1024]), |(mut reader, mut buffer)| async move {
        match reader.read(&mut buffer).await {
            Ok(0) => None,
            Ok(n) => Some((Ok(bytes::Bytes::copy_from_slice(&buffer[..n])), (reader, buffer))),
            Err(e) => Some((Err(e), (reader, buffer))),
        }
    });
    Ok((plain_headers(), Body::from_stream(chunks)).into_response())
}

/// Text, whatever is in it.
pub fn plain_headers() -> [(header::HeaderName, &'static str); 2] {
    [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")]
}

/// Read at most `max` bytes from `offset`. Blocking; called on regular files only.
pub fn read_some(file: &mut std::fs::File, offset: u64, max: usize) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut data = Vec::new();
    file.take(max as u64).read_to_end(&mut data)?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        assert_eq!(super::rfc3339(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(super::rfc3339(951_827_696, 120_000_000), "2000-02-29T12:34:56.12Z");
        assert_eq!(super::rfc3339(1_795_354_859, 0), "2026-11-22T13:40:59Z");
    }
}
