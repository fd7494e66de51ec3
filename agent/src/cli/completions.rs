//! `trine completions SHELL`: a script for the shell to source.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trine completions bash > /etc/bash_completion.d/trine")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    clap_complete::generate(args.shell, &mut super::args::Trine::command(), "trine", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
