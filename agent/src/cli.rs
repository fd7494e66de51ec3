//! The command line: which tool we were called as, which command was meant, and the exit code.
//!
//! Owns: the personas (`http-echo` and `fabio` by the name of the link), Go-style flags, dispatch. stdout is data,
//! stderr is talk; every error ends with what to do next. Exit code 0 is success, 1 is failure.

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

pub mod agent;
pub mod alloc;
pub mod args;
mod argv;
pub mod catalog;
pub mod client;
pub mod completions;
pub mod connection;
pub mod deployment;
pub mod eval;
pub mod http_echo;
pub mod job;
pub mod kv;
pub mod node;
pub mod render;
pub mod route;
pub mod server;
pub mod version;
pub mod walkthrough;

use args::{Command, Short, Trine};

use crate::driver::shim;

/// Run one command line, the first word being the name the binary was called by.
#[must_use]
pub fn run(argv: Vec<OsString>) -> ExitCode {
    let called_as = argv
        .first()
        .map(|a| Path::new(a).file_stem().unwrap_or_default().to_string_lossy().into_owned())
        .unwrap_or_default();
    // Not a command of people, and on the path of every task's start: no parsing, no logs.
    if argv.get(1).is_some_and(|a| a == shim::SUBCOMMAND) {
        let args: Vec<String> = argv[2..].iter().map(|a| a.to_string_lossy().into_owned()).collect();
        return shim::main(&args);
    }
    let argv = match called_as.as_str() {
        "http-echo" => with_command("http-echo", argv),
        "fabio" => with_command("fabio", argv),
        _ => argv,
    };
    match parse(argv) {
        Ok(trine) => finish(dispatch(trine)),
        Err(e) => {
            let failed = e.use_stderr();
            // Nothing is left to do if the terminal is gone.
            let _ = e.print();
            ExitCode::from(u8::from(failed))
        }
    }
}

/// `http-echo -listen :80` is `trine http-echo -listen :80`.
fn with_command(command: &str, mut argv: Vec<OsString>) -> Vec<OsString> {
    argv.insert(1, command.into());
    argv
}

fn parse(argv: Vec<OsString>) -> Result<Trine, clap::Error> {
    let mut command = Trine::command();
    command.build();
    let argv = argv::normalise(argv, &command);
    let matches = Trine::command().try_get_matches_from(argv)?;
    Trine::from_arg_matches(&matches)
}

fn dispatch(trine: Trine) -> anyhow::Result<ExitCode> {
    match trine.command {
        Command::Agent(args) => agent::run(*args),
        Command::Fabio(args) => agent::run_as_fabio(&args),
        Command::Job(args) => args.run(),
        Command::Alloc(args) => args.run(),
        Command::Node(args) => args.run(),
        Command::Deployment(args) => args.run(),
        Command::Eval(args) => args.run(),
        Command::Service(args) => args.run(),
        Command::Catalog(args) => args.run(),
        Command::Kv(args) => args.run(),
        Command::Route(args) => args.run(),
        Command::Server(args) => args.run(),
        Command::System(args) => args.run(),
        Command::Short(short) => shorthand(short),
        Command::Completions(args) => completions::run(&args),
        Command::HttpEcho(args) => http_echo::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Walkthrough(args) => walkthrough::run(&args),
    }
}

/// `trine run` is `trine job run`.
fn shorthand(short: Short) -> anyhow::Result<ExitCode> {
    match short {
        Short::Run(args) => job::Command::Run(args).run(),
        Short::Plan(args) => job::Command::Plan(args).run(),
        Short::Status(args) => job::Command::Status(args).run(),
        Short::Stop(args) => job::Command::Stop(args).run(),
        Short::Scale(args) => job::Command::Scale(args).run(),
        Short::Validate(args) => job::Command::Validate(args).run(),
        Short::Inspect(args) => job::Command::Inspect(args).run(),
        Short::Logs(args) => alloc::run_logs(args),
    }
}

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("Error: {}", told(&e));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line; a cause whose words are there already is not said again.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        text
    })
}

/// A runtime for commands that talk to the API: one thread is plenty.
pub fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context as _;
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")
}

#[cfg(test)]
mod tests;
