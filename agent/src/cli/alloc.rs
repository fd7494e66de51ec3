//! `trine alloc …`: one allocation, its logs, restarting and stopping it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    connection::{Connection, Noun, whole_id},
    render::{self, text},
};

mod logs;
mod status;

pub use logs::Args as LogsArgs;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trine alloc status 4f1c\n  trine alloc logs -f 4f1c\n  trine alloc logs -job http-echo"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show an allocation: addresses, tasks, what happened
    Status(status::Args),
    /// Print a task's output
    Logs(logs::Args),
    /// Stop an allocation; the scheduler replaces it
    Stop(OneArgs),
    /// Restart the tasks of an allocation in place
    Restart(RestartArgs),
    /// Send a signal to a task
    Signal(SignalArgs),
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The allocation's id, or the beginning of it
    alloc: String,
    #[command(flatten)]
    connection: Connection,
    /// Do not wait for the replacement
    #[arg(long)]
    detach: bool,
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, clap::Args)]
struct RestartArgs {
    /// The allocation's id, or the beginning of it
    alloc: String,
    /// Only this task
    task: Option<String>,
    /// Restart every task, also those that ended
    #[arg(long)]
    all_tasks: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
struct SignalArgs {
    /// The allocation's id, or the beginning of it
    alloc: String,
    /// Only this task
    task: Option<String>,
    /// The signal
    #[arg(long, short = 's', default_value = "SIGKILL", value_name = "NAME")]
    signal: String,
    #[command(flatten)]
    connection: Connection,
}

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                Command::Status(args) => status::run(args).await,
                Command::Logs(args) => logs::run(args).await,
                Command::Stop(args) => stop(args).await,
                Command::Restart(args) => restart(args).await,
                Command::Signal(args) => signal(args).await,
            }
        })
    }
}

async fn stop(args: OneArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = whole_id(&client, Noun::Alloc, &args.alloc).await?;
    let reply: Value = client.put(&format!("/v1/allocation/{id}/stop"), &json!({})).await?;
    let eval = text(&reply, "EvalID");
    if args.detach || eval.is_empty() {
        println!("{eval}");
        return Ok(ExitCode::SUCCESS);
    }
    super::eval::follow(&client, &eval, args.verbose).await
}

async fn restart(args: RestartArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = whole_id(&client, Noun::Alloc, &args.alloc).await?;
    let body = json!({ "TaskName": args.task.unwrap_or_default(), "AllTasks": args.all_tasks });
    client
        .raw(http::Method::PUT, &format!("/v1/client/allocation/{id}/restart"), Some(body.to_string().into()))
        .await?;
    eprintln!("Allocation {} is restarting", render::short(&id));
    Ok(ExitCode::SUCCESS)
}

async fn signal(args: SignalArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.scheduler()?;
    let id = whole_id(&client, Noun::Alloc, &args.alloc).await?;
    let body = json!({ "Task": args.task.unwrap_or_default(), "Signal": args.signal });
    client.raw(http::Method::PUT, &format!("/v1/client/allocation/{id}/signal"), Some(body.to_string().into())).await?;
    Ok(ExitCode::SUCCESS)
}

/// `trine logs`.
pub fn run_logs(args: LogsArgs) -> anyhow::Result<ExitCode> {
    super::small_runtime()?.block_on(logs::run(args))
}
