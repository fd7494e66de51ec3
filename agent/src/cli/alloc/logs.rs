//! `trine alloc logs`: a task's output, whole, its end, or as it comes; of one allocation or of all of a job.

use std::{io::Write, process::ExitCode};

use anyhow::{bail, ensure};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::cli::{
    client::{Client, with_query},
    connection::{Connection, Noun, whole_id},
    render::{entries, short, text},
};

/// What `-tail` shows when neither `-n` nor `-c` says otherwise.
const TAIL_LINES: usize = 10;
/// Enough to find the last lines in.
const TAIL_BYTES: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The allocation's id (or the beginning of it); with -job the job's id
    alloc: String,
    /// The task, when the allocation has several
    task: Option<String>,
    /// Go on as output comes
    #[arg(short = 'f')]
    follow: bool,
    /// Begin near the end
    #[arg(long)]
    tail: bool,
    /// Lines from the end, with -tail
    #[arg(short = 'n', value_name = "LINES")]
    lines: Option<usize>,
    /// Bytes from the end, with -tail
    #[arg(short = 'c', value_name = "BYTES")]
    bytes: Option<u64>,
    /// The task's standard error
    #[arg(long)]
    stderr: bool,
    /// The task's standard output (the default)
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// The task
    #[arg(long = "task", value_name = "NAME")]
    task_flag: Option<String>,
    /// Every running allocation of a job, each line with its allocation
    #[arg(long)]
    job: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    if args.job {
        return of_job(&client, &args).await;
    }
    let id = whole_id(&client, Noun::Alloc, &args.alloc).await?;
    pour(&client, &id, &args, "").await?;
    Ok(ExitCode::SUCCESS)
}

async fn of_job(client: &Client, args: &Args) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/job/{}/allocations", crate::cli::client::encode(&args.alloc));
    let allocs: Vec<Value> = client.get(&path).await?;
    let running: Vec<_> = allocs.iter().filter(|a| a["ClientStatus"] == "running").map(|a| text(a, "ID")).collect();
    ensure!(!running.is_empty(), "no allocation of job \"{}\" runs; see `trine job status {}`", args.alloc, args.alloc);
    let pours = running.iter().map(|id| async move {
        let prefix = format!("{} | ", short(id));
        pour(client, id, args, &prefix).await
    });
    for result in futures_util::future::join_all(pours).await {
        result?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn task_of(client: &Client, id: &str, args: &Args) -> anyhow::Result<String> {
    if let Some(task) = args.task_flag.clone().or_else(|| args.task.clone()) {
        return Ok(task);
    }
    let alloc: Value = client.get(&format!("/v1/allocation/{id}")).await?;
    let tasks: Vec<_> = entries(&alloc["AllocatedResources"], "Tasks").map(|(name, _)| name.clone()).collect();
    match tasks.as_slice() {
        [one] => Ok(one.clone()),
        many => bail!("allocation {} has {} tasks; say which: {}", short(id), many.len(), many.join(", ")),
    }
}

async fn pour(client: &Client, id: &str, args: &Args, prefix: &str) -> anyhow::Result<()> {
    let task = task_of(client, id, args).await?;
    let tail = args.tail || args.lines.is_some() || args.bytes.is_some();
    let offset = if tail { args.bytes.unwrap_or(TAIL_BYTES) } else { 0 };
    let path = with_query(
        &format!("/v1/client/fs/logs/{id}"),
        &[
            ("task", &task),
            ("type", if args.stderr { "stderr" } else { "stdout" }),
            ("plain", "true"),
            ("follow", if args.follow { "true" } else { "false" }),
            ("origin", if tail { "end" } else { "start" }),
            ("offset", &offset.to_string()),
        ],
    );
    let mut body = client.stream(&path).await?;
    let mut printer = Printer { prefix: prefix.to_owned(), rest: Vec::new() };
    let trim = tail && args.bytes.is_none();
    let mut first = trim.then(Vec::new);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        match &mut first {
            // While following, the first chunk is the end of what there is.
            Some(held) => {
                held.extend_from_slice(&data);
                if args.follow {
                    let held = first.take().unwrap_or_default();
                    printer.print(last_lines(&held, args.lines.unwrap_or(TAIL_LINES)))?;
                }
            }
            None => printer.print(&data)?,
        }
    }
    if let Some(held) = first {
        printer.print(last_lines(&held, args.lines.unwrap_or(TAIL_LINES)))?;
    }
    printer.finish()
}

/// The last `count` lines of `bytes`.
fn last_lines(bytes: &[u8], count: usize) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let starts = body.iter().enumerate().rev().filter(|(_, b)| **b == b'\n').map(|(n, _)| n + 1);
    match count {
        0 => &[],
        _ => starts.take(count).nth(count - 1).map_or(bytes, |from| &bytes[from..]),
    }
}

/// Writes bytes as they are, or line by line behind a prefix.
struct Printer {
    prefix: String,
    rest: Vec<u8>,
}

impl Printer {
    fn print(&mut self, data: &[u8]) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.prefix.is_empty() {
            out.write_all(data)?;
        } else {
            self.rest.extend_from_slice(data);
            while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                out.write_all(self.prefix.as_bytes())?;
                out.write_all(&line)?;
            }
        }
        Ok(out.flush()?)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if !self.rest.is_empty() {
            self.print(b"\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn the_last_lines() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 1), b"c");
        assert_eq!(last_lines(b"a\nb\n", 5), b"a\nb\n");
        assert_eq!(last_lines(b"a\n", 0), b"");
        assert_eq!(last_lines(b"", 3), b"");
    }
}
