//! `trine job …` and its short forms: what the commands are; each lives in its own file.

use std::process::ExitCode;

use super::connection::Connection;

pub use self::{
    plan::Args as PlanArgs,
    run::Args as RunArgs,
    scale::Args as ScaleArgs,
    status::{Args as StatusArgs, InspectArgs},
    stop::Args as StopArgs,
    validate::Args as ValidateArgs,
};

pub mod deployment;
mod history;
pub mod monitor;
mod plan;
mod promote;
mod run;
mod scale;
mod source;
mod status;
mod stop;
mod trouble;
mod validate;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trine job run jobs/echo-simple.hcl\n  trine job status http-echo\n  trine job scale http-echo 7"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Submit a job and follow it until it is healthy
    Run(run::Args),
    /// Show what submitting a job would change, changing nothing
    Plan(plan::Args),
    /// List jobs, or show one
    Status(status::Args),
    /// Stop a job
    Stop(stop::Args),
    /// Change how many allocations a group has
    Scale(scale::Args),
    /// Let the canaries of the latest deployment become the job
    Promote(promote::Args),
    /// Show the versions of a job
    History(history::Args),
    /// Go back to an older version of a job
    Revert(history::RevertArgs),
    /// Check a job file without an agent
    Validate(validate::Args),
    /// Print a job as JSON
    Inspect(status::InspectArgs),
    /// List the allocations of a job
    Allocs(status::AllocsArgs),
    /// List the deployments of a job
    Deployments(status::DeploymentsArgs),
    /// Make the scheduler look at a job again
    Eval(scale::EvalArgs),
    /// Write an example job file
    Init(validate::InitArgs),
}

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.command.run()
    }
}

impl Command {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            // These two work without an agent.
            Self::Validate(args) => validate::run(&args),
            Self::Init(args) => validate::init(&args),
            other => super::small_runtime()?.block_on(other.talk()),
        }
    }

    async fn talk(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(args).await,
            Self::Plan(args) => plan::run(args).await,
            Self::Status(args) => status::run(args).await,
            Self::Stop(args) => stop::run(args).await,
            Self::Scale(args) => scale::run(args).await,
            Self::Promote(args) => promote::run(args).await,
            Self::History(args) => history::run(args).await,
            Self::Revert(args) => history::revert(args).await,
            Self::Inspect(args) => status::inspect(args).await,
            Self::Allocs(args) => status::allocs(args).await,
            Self::Deployments(args) => status::deployments(args).await,
            Self::Eval(args) => scale::evaluate(args).await,
            Self::Validate(args) => validate::run(&args),
            Self::Init(args) => validate::init(&args),
        }
    }
}

/// `/v1/job/<id>` with the id encoded.
fn path(id: &str, rest: &str) -> String {
    format!("/v1/job/{}{rest}", super::client::encode(id))
}

/// The flags of commands that wait for an evaluation or a deployment.
#[derive(Clone, Debug, clap::Args)]
pub struct Follow {
    #[command(flatten)]
    pub connection: Connection,
    /// Do not wait; print the evaluation's id
    #[arg(long)]
    pub detach: bool,
    /// Show whole ids
    #[arg(long)]
    pub verbose: bool,
}
