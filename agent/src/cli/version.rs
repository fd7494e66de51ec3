//! `trine version`.

use std::process::ExitCode;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.json {
        println!("{}", serde_json::json!({ "version": VERSION }));
    } else {
        println!("Trine v{VERSION}");
    }
    Ok(ExitCode::SUCCESS)
}
