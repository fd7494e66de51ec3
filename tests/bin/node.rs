//! The agent under test: the same entry as `trine`.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::run()
}
