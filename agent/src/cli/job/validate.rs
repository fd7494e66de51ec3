//! `trine job validate` and `trine job init`: neither needs an agent.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};

use super::source::Source;
use crate::cli::render::{Paint, paint};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: Source,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.source.load()?;
    for warning in &loaded.warnings {
        eprintln!("Warning: {warning}");
    }
    match scheduler::validate::validate(&loaded.job) {
        Ok(warnings) => {
            for warning in warnings {
                eprintln!("Warning: {warning}");
            }
            println!("{}", paint("Job validation successful", Paint::Good));
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            eprintln!("Job validation errors: {} found", errors.len());
            for error in errors {
                eprintln!("  * {error}");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// File to write
    #[arg(default_value = "example.hcl")]
    file: PathBuf,
}

pub fn init(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let file = args.file.display();
    ensure!(!args.file.exists(), "{file} exists already; name another file");
    let example = include_str!("../../../../jobs/echo-scaled-up-dynamic-consul.hcl");
    fs::write(&args.file, example).with_context(|| format!("cannot write {file}"))?;
    println!("Wrote {file}. Run it with: trine job run {file}");
    Ok(ExitCode::SUCCESS)
}
