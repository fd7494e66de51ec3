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
    /// See everything work: echo, scaled, discovered, load-balanced, updated
    Walkthrough(super::walkthrough::Args),
    /// Submit, follow, change and stop jobs
    Job(Box<super::job::Args>),
    /// Look at allocations: status, logs; stop or restart them
    Alloc(super::alloc::Args),
    /// Look at nodes; drain them
    Node(super::node::Args),
    /// Look at roll-outs; promote or fail them
    Deployment(super::deployment::Args),
    /// Look at evaluations
    Eval(super::eval::Args),
    /// Look at registered services
    Service(super::catalog::ServiceArgs),
    /// Look at the catalog: services, nodes, datacenters
    Catalog(super::catalog::Args),
    /// Keys and values
    Kv(super::kv::Args),
    /// Look at the load balancer's routes
    Route(super::route::Args),
    /// Look at the servers
    Server(super::server::ServerArgs),
    /// Housekeeping
    System(super::server::SystemArgs),
    /// Short for `job run`, `job plan`, …
    #[command(flatten)]
    Short(Short),
    /// Print a shell completion script
    Completions(super::completions::Args),
    /// Answer every request with one text (a stand-in for a real service)
    HttpEcho(super::http_echo::Args),
    /// Print the version
    Version(super::version::Args),
    /// What the binary does when it is called through a link named `fabio`
    #[command(hide = true)]
    Fabio(super::agent::FabioArgs),
}

/// Nomad's short forms.
#[derive(Debug, Subcommand)]
pub enum Short {
    /// Submit a job (short for `job run`)
    Run(super::job::RunArgs),
    /// Show what a job file would change (short for `job plan`)
    Plan(super::job::PlanArgs),
    /// List jobs, or show one (short for `job status`)
    Status(super::job::StatusArgs),
    /// Stop a job (short for `job stop`)
    Stop(super::job::StopArgs),
    /// Change a count (short for `job scale`)
    Scale(super::job::ScaleArgs),
    /// Check a job file (short for `job validate`)
    Validate(super::job::ValidateArgs),
    /// Print a job as JSON (short for `job inspect`)
    Inspect(super::job::InspectArgs),
    /// Print a task's output (short for `alloc logs`)
    Logs(super::alloc::LogsArgs),
}
