//! A command beside a running task: same environment, directory, user and control group.

use std::{os::unix::process::CommandExt, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{io::AsyncReadExt, process::Command};

use super::command::resolve;
use crate::driver::{
    Dirs, Error,
    shim::{RunSpec, exit_of},
};

/// The most output that is kept.
const OUTPUT_MAX: u64 = 64 * 1024;

pub async fn run(spec: &RunSpec, command: &[String], timeout: Duration) -> Result<(i32, String), Error> {
    let Some((program, args)) = command.split_first() else {
        return Err(Error::Config("there is no command to run".into()));
    };
    let dirs = Dirs {
        shared: spec.cwd.clone(),
        task: spec.cwd.clone(),
        local: spec.cwd.join("local"),
        secrets: spec.cwd.join("secrets"),
        logs: spec.logs.dir.clone(),
    };
    let program = resolve(program, &dirs, spec.env.get("PATH").map(String::as_str))?;
    let mut prepared = std::process::Command::new(program);
    prepared
        .args(args)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.cwd)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some((uid, gid)) = spec.ids {
        prepared.uid(uid).gid(gid);
    }
    let mut child = Command::from(prepared).kill_on_drop(true).spawn().map_err(Error::io("run the command"))?;
    let group = child.id().and_then(|p| i32::try_from(p).ok());
    if let Some(pid) = child.id() {
        // Belongs to the task: ends with it. Where it cannot be moved it still ends with its time limit.
        let _ = spec.group.add(pid);
    }
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let mut text = Vec::new();
        let mut errors = Vec::new();
        let (_, _, status) = tokio::join!(read_all(out, &mut text), read_all(err, &mut errors), child.wait());
        text.append(&mut errors);
        text.truncate(usize::try_from(OUTPUT_MAX).unwrap_or(usize::MAX));
        status.map(|s| (exit_of(s).code, String::from_utf8_lossy(&text).into_owned()))
    };
    let ended = tokio::time::timeout(timeout, work).await;
    if let Some(group) = group {
        // Whatever the command left behind in its group.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    match ended {
        Ok(done) => done.map_err(Error::io("run the command")),
        Err(_) => Err(Error::Start { message: format!("the command did not end within {timeout:?}"), retry: true }),
    }
}

async fn read_all<R: tokio::io::AsyncRead + Unpin>(from: Option<R>, into: &mut Vec<u8>) -> std::io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    (&mut from).take(OUTPUT_MAX).read_to_end(into).await?;
    // Keep the pipe flowing: a writer must not block on what is thrown away.
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await.map(drop)
}
