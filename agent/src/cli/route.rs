//! `trine route …`: what the load balancer routes, and what it refuses and why.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    connection::Connection,
    render::{self, Paint, paint, text},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List routes and their targets
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// -address is the load balancer's admin address (TRINE_LB_ADDR, default http://127.0.0.1:9998)
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                Command::List(args) => list(args).await,
            }
        })
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let client = args.connection.balancer()?;
    let routes: Value = client.get("/api/routes").await?;
    if args.json {
        render::print_json(&routes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = routes
        .as_array()
        .into_iter()
        .flatten()
        .map(|r| {
            let weight = r["weight"].as_f64().unwrap_or(0.0) * 100.0;
            vec![text(r, "src"), text(r, "service"), text(r, "dst"), format!("{weight:.2}%"), text(r, "opts")]
        })
        .collect();
    if rows.is_empty() {
        println!("No routes. A service gets one with a tag such as urlprefix-/path");
    } else {
        println!("{}", render::table(&["Route", "Service", "Target", "Weight", "Options"], &rows));
    }
    let problems: Value = client.get("/api/problems").await?;
    for problem in problems.as_array().into_iter().flatten() {
        let words = format!(
            "disabled: service \"{}\", tag \"{}\": {}",
            text(problem, "service"),
            text(problem, "tag"),
            text(problem, "reason")
        );
        eprintln!("{}", paint(&words, Paint::Warn));
    }
    Ok(ExitCode::SUCCESS)
}
