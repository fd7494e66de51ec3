//! Functions that look at files: only on the author's machine, only below the job file's directory.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use model::driver_config::Value;

use super::{Answer, Args, Context, list_of};

pub const NAMES: [&str; 8] =
    ["abspath", "basename", "dirname", "file", "filebase64", "fileexists", "fileset", "pathexpand"];

/// Larger files do not belong into a job.
const MAX_FILE: u64 = 1024 * 1024;

/// What `fileset` looks at and finds at most.
const MAX_FOUND: usize = 10_000;

pub fn call(a: &Args<'_>, context: &Context<'_>) -> Answer {
    let Some(base) = context.files else {
        return Err(a.fail("filesystem function disabled: files can only be read by the command line, not by a server"));
    };
    match a.name {
        "fileset" => fileset(a, base),
        _ => {
            let text = a.text(a.exactly::<1>()?[0])?;
            let path = Path::new(&text);
            match a.name {
                "abspath" => Ok(shown(&plain(&absolute(base, path)))),
                "basename" => Ok(shown(Path::new(path.file_name().unwrap_or_default()))),
                "dirname" => Ok(shown(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))),
                "fileexists" => Ok(Value::Bool(inside(a, base, path).is_ok_and(|p| p.is_file()))),
                "file" => {
                    let bytes = read(a, base, path)?;
                    String::from_utf8(bytes)
                        .map(Value::Str)
                        .map_err(|_| a.fail(format!("{text:?} is not UTF-8 text; use filebase64()")))
                }
                "filebase64" => Ok(Value::Str(STANDARD.encode(read(a, base, path)?))),
                _ => match (text.strip_prefix("~"), std::env::var("HOME")) {
                    (Some(rest), Ok(home)) if rest.is_empty() || rest.starts_with('/') => Ok(Value::Str(home + rest)),
                    _ => Ok(Value::Str(text)),
                },
            }
        }
    }
}

fn shown(path: &Path) -> Value {
    Value::Str(path.to_string_lossy().into_owned())
}

fn absolute(base: &Path, path: &Path) -> PathBuf {
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    base.join(path)
}

/// Without `.` and `..`, as far as names alone tell.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// The real path, if it lies below the job file's directory.
fn inside(a: &Args<'_>, base: &Path, path: &Path) -> Result<PathBuf, String> {
    let missing = |p: &Path, e: std::io::Error| a.fail(format!("cannot read {}: {e}", p.display()));
    let root = fs::canonicalize(base).map_err(|e| missing(base, e))?;
    let real = fs::canonicalize(root.join(path)).map_err(|e| missing(path, e))?;
    if real.starts_with(&root) {
        return Ok(real);
    }
    Err(a.fail(format!("{} lies outside the job file's directory; copy it there", path.display())))
}

fn read(a: &Args<'_>, base: &Path, path: &Path) -> Result<Vec<u8>, String> {
    let real = inside(a, base, path)?;
    let meta = fs::metadata(&real).map_err(|e| a.fail(e))?;
    if !meta.is_file() {
        return Err(a.fail(format!("{} is not a file", path.display())));
    }
    if meta.len() > MAX_FILE {
        return Err(a.fail(format!("{} is larger than {} KiB", path.display(), MAX_FILE / 1024)));
    }
    fs::read(real).map_err(|e| a.fail(e))
}

/// Files below a directory whose relative path matches a pattern with `*`, `**` and `?`.
fn fileset(a: &Args<'_>, base: &Path) -> Answer {
    let [dir, pattern] = a.exactly()?;
    let (dir, pattern) = (a.text(dir)?, a.text(pattern)?);
    let root = inside(a, base, Path::new(&dir))?;
    let pattern: Vec<&str> = pattern.trim_start_matches("./").split('/').collect();
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    let mut looked = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder)).map_err(|e| a.fail(e))? {
            let entry = entry.map_err(|e| a.fail(e))?;
            looked += 1;
            if looked > MAX_FOUND {
                return Err(a.fail(format!("looks at more than {MAX_FOUND} files; name a smaller directory")));
            }
            let path = folder.join(entry.file_name());
            match entry.file_type() {
                Ok(t) if t.is_dir() => open.push(path),
                Ok(t) if t.is_file() => found.push(path.to_string_lossy().into_owned()),
                _ => {}
            }
        }
    }
    found.retain(|p| matches(&pattern, &p.split('/').collect::<Vec<_>>()));
    found.sort();
    Ok(list_of(found))
}

fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) if matches(rest, path) => true,
        (Some((&"**", _)), Some((_, tail))) => matches(pattern, tail),
        (Some((p, rest)), Some((name, tail))) => matches_name(p.as_bytes(), name.as_bytes()) && matches(rest, tail),
        _ => false,
    }
}

/// Greedy with one point to come back to, so that no pattern takes more than length times length steps.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    (p, n) = (star + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}
