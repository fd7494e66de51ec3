//! `trine kv …`: keys and values.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::Method;
use serde_json::Value;

use super::{
    client::{encode, with_query},
    connection::Connection,
    render::{self, text},
};

/// The largest value the store takes, and one byte to notice that there is more.
const MAX_VALUE: u64 = model::kv::MAX_VALUE as u64 + 1;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trine kv put app/colour blue\n  trine kv get app/colour\n  trine kv get -recurse app/\n  trine kv put app/cert @cert.pem"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a value
    Get(GetArgs),
    /// Store a value
    Put(PutArgs),
    /// Delete a key, or all under a prefix
    Delete(DeleteArgs),
    /// List keys
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct GetArgs {
    /// The key
    key: String,
    /// Every key that begins with it
    #[arg(long)]
    recurse: bool,
    /// Only the names
    #[arg(long)]
    keys: bool,
    /// Show indexes, flags and session too
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct PutArgs {
    /// The key
    key: String,
    /// The value; `@FILE` reads a file, `-` standard input
    value: Option<String>,
    /// Only if the key's modify index is -modify-index
    #[arg(long)]
    cas: bool,
    #[arg(long, value_name = "N", requires = "cas")]
    modify_index: Option<u64>,
    /// A number stored beside the value
    #[arg(long, value_name = "N")]
    flags: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct DeleteArgs {
    /// The key
    key: String,
    /// Every key that begins with it
    #[arg(long)]
    recurse: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    prefix: String,
    #[command(flatten)]
    connection: Connection,
}

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                Command::Get(args) => get(args).await,
                Command::Put(args) => put(args).await,
                Command::Delete(args) => delete(args).await,
                Command::List(args) => keys(&args.connection, &args.prefix).await,
            }
        })
    }
}

/// `/v1/kv/<key>`: each part encoded, the slashes kept.
fn path(key: &str) -> String {
    let parts: Vec<_> = key.trim_start_matches('/').split('/').map(encode).collect();
    format!("/v1/kv/{}", parts.join("/"))
}

async fn keys(connection: &Connection, prefix: &str) -> anyhow::Result<ExitCode> {
    let found: Option<Vec<String>> = connection.catalog()?.find_one(&format!("{}?keys", path(prefix))).await?;
    for key in found.unwrap_or_default() {
        println!("{key}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(args: GetArgs) -> anyhow::Result<ExitCode> {
    if args.keys {
        return keys(&args.connection, &args.key).await;
    }
    let url = if args.recurse { format!("{}?recurse", path(&args.key)) } else { path(&args.key) };
    let found: Option<Vec<Value>> = args.connection.catalog()?.find_one(&url).await?;
    let Some(found) = found.filter(|f| !f.is_empty()) else {
        eprintln!("Error! No key exists at: {}", args.key);
        return Ok(ExitCode::FAILURE);
    };
    for (n, entry) in found.iter().enumerate() {
        let value =
            BASE64_STANDARD.decode(text(entry, "Value")).context("the agent sent a value that is not base64")?;
        let mut out = std::io::stdout().lock();
        if args.detailed {
            if n > 0 {
                writeln!(out)?;
            }
            let fields =
                ["CreateIndex", "Flags", "Key", "LockIndex", "ModifyIndex", "Session"].map(|f| (f, text(entry, f)));
            writeln!(out, "{}\nValue       = {}", render::block(&fields), String::from_utf8_lossy(&value))?;
        } else if args.recurse {
            writeln!(out, "{}:{}", text(entry, "Key"), String::from_utf8_lossy(&value))?;
        } else {
            out.write_all(&value)?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn value_of(arg: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match arg {
        None => {}
        Some("-") => {
            std::io::stdin().take(MAX_VALUE).read_to_end(&mut bytes).context("cannot read standard input")?;
        }
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                let file_in = std::fs::File::open(file).with_context(|| format!("cannot read {file}"))?;
                file_in.take(MAX_VALUE).read_to_end(&mut bytes).with_context(|| format!("cannot read {file}"))?;
            }
            None => bytes = text.as_bytes().to_vec(),
        },
    }
    if bytes.len() > model::kv::MAX_VALUE {
        bail!("a value has at most {} bytes", model::kv::MAX_VALUE);
    }
    Ok(bytes)
}

async fn put(args: PutArgs) -> anyhow::Result<ExitCode> {
    let value = value_of(args.value.as_deref())?;
    let mut url = path(&args.key);
    if args.cas {
        url = with_query(&url, &[("cas", &args.modify_index.unwrap_or(0).to_string())]);
    }
    if let Some(flags) = args.flags {
        url = with_query(&url, &[("flags", &flags.to_string())]);
    }
    let answer = args.connection.catalog()?.raw(Method::PUT, &url, Some(value.into())).await?;
    if answer.trim_ascii() == b"true" {
        println!("Success! Data written to: {}", args.key);
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("Error! Did not write to {}: CAS failed", args.key);
        Ok(ExitCode::FAILURE)
    }
}

async fn delete(args: DeleteArgs) -> anyhow::Result<ExitCode> {
    let url = if args.recurse { format!("{}?recurse", path(&args.key)) } else { path(&args.key) };
    args.connection.catalog()?.raw(Method::DELETE, &url, None).await?;
    let what = if args.recurse { "keys with prefix" } else { "key" };
    println!("Success! Deleted {what}: {}", args.key);
    Ok(ExitCode::SUCCESS)
}
