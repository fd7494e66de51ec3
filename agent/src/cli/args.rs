//! The shape of the command line. Each command's arguments live in its own file; this one lists the commands.

use clap::{Parser, Subcommand};

/// Scheduler, service discovery and load balancer in one program.
#[derive(Debug, Parser)]
#[command(
    name = "trine",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "First steps:\n  trine walkthrough          see everything work, in one go\n  trine agent -dev           an agent with every role, on this machine"
)]
pub struct Trine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an agent
    Agent(Box<super::agent::Args>),
    /// Answer every request with one text (a stand-in for a real service)
    HttpEcho(super::http_echo::Args),
    /// Print the version
    Version(super::version::Args),
    /// What the binary does when it is called through a link named `fabio`
    #[command(hide = true)]
    Fabio(super::agent::FabioArgs),
}
