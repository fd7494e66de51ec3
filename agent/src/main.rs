//! The `trine` binary: hands its arguments to the command line and its exit code to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::run()
}
