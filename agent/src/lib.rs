//! The binary's library: configuration, command line, assembly and supervision of roles.
//!
//! Owns everything that touches a terminal, a signal or more than one role at a time. Refuses: scheduling decisions,
//! catalog semantics, proxying; those live in their crates and are only put together here.
//!
//! ```text
//!  argv ─► cli ─► agent ─► config ─► assemble ─► supervise ─► (server · client · discovery · lb · http)
//!             └─► every other command ─► cli::client ─► HTTP API
//! ```

pub mod agent_info;
pub mod assemble;
pub mod cli;
pub mod client;
pub mod config;
pub mod driver;
pub mod http_echo;
pub mod http_server;
pub mod listen;
pub mod metrics;
pub mod nearest;
pub mod supervise;
pub mod telemetry;
pub mod ui;
pub mod walkthrough;

/// The whole program: the process's arguments in, its exit code out.
#[must_use]
pub fn run() -> std::process::ExitCode {
    cli::run(std::env::args_os().collect())
}
