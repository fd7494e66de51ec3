//! `trine catalog …` and `trine service …`: what is registered, and how it is.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    client::encode,
    connection::Connection,
    render::{self, Paint, list, paint, text},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trine catalog services\n  trine service info http-echo")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the names of services
    Services(ServicesArgs),
    /// List nodes
    Nodes(ListArgs),
    /// List datacenters
    Datacenters(ListArgs),
}

#[derive(Debug, clap::Args)]
struct ServicesArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Show tags beside the names
    #[arg(long)]
    tags: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                Command::Services(args) => services(args).await,
                Command::Nodes(args) => nodes(args).await,
                Command::Datacenters(args) => datacenters(args).await,
            }
        })
    }
}

async fn services(args: ServicesArgs) -> anyhow::Result<ExitCode> {
    let all: Value = args.list.connection.catalog()?.get("/v1/catalog/services").await?;
    if args.list.json {
        render::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, tags) in all.as_object().into_iter().flatten() {
        if args.tags {
            let tags: Vec<_> = tags.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            println!("{name}  {}", tags.join(","));
        } else {
            println!("{name}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn nodes(args: ListArgs) -> anyhow::Result<ExitCode> {
    let all: Value = args.connection.catalog()?.get("/v1/catalog/nodes").await?;
    if args.json {
        render::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = all
        .as_array()
        .into_iter()
        .flatten()
        .map(|n| vec![text(n, "Node"), render::short(&text(n, "ID")), text(n, "Address"), text(n, "Datacenter")])
        .collect();
    println!("{}", render::table(&["Node", "ID", "Address", "DC"], &rows));
    Ok(ExitCode::SUCCESS)
}

async fn datacenters(args: ListArgs) -> anyhow::Result<ExitCode> {
    let all: Value = args.connection.catalog()?.get("/v1/catalog/datacenters").await?;
    if args.json {
        render::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    for dc in all.as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("{dc}");
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
pub struct ServiceArgs {
    #[command(subcommand)]
    command: ServiceCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ServiceCommand {
    /// List services and their tags
    List(ListArgs),
    /// Show the instances of a service and their health
    Info(InfoArgs),
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    /// The service's name
    service: String,
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    json: bool,
}

impl ServiceArgs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        super::small_runtime()?.block_on(async {
            match self.command {
                ServiceCommand::List(args) => services(ServicesArgs { list: args, tags: true }).await,
                ServiceCommand::Info(args) => info(args).await,
            }
        })
    }
}

async fn info(args: InfoArgs) -> anyhow::Result<ExitCode> {
    let all: Value = args.connection.catalog()?.get(&format!("/v1/health/service/{}", encode(&args.service))).await?;
    if args.json {
        render::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let instances = all.as_array().map_or(&[][..], Vec::as_slice);
    if instances.is_empty() {
        eprintln!("No instance of \"{}\" is registered; `trine catalog services` lists the names", args.service);
        return Ok(ExitCode::FAILURE);
    }
    let rows: Vec<_> = instances.iter().map(instance).collect();
    println!("{}", render::table(&["Address", "Health", "Node", "Tags", "Checks"], &rows));
    Ok(ExitCode::SUCCESS)
}

fn instance(i: &Value) -> Vec<String> {
    let (service, node) = (&i["Service"], &i["Node"]);
    let own = text(service, "Address");
    let address = if own.is_empty() { text(node, "Address") } else { own };
    let checks = list(i, "Checks");
    let has = |word: &str| checks.iter().any(|c| c["Status"] == word);
    let health = if has("critical") {
        paint("critical", Paint::Bad)
    } else if has("warning") {
        paint("warning", Paint::Warn)
    } else {
        paint("passing", Paint::Good)
    };
    let bad: Vec<_> = checks
        .iter()
        .filter(|c| c["Status"] != "passing")
        .map(|c| format!("{}: {}", text(c, "Name"), text(c, "Output").lines().next().unwrap_or_default()))
        .collect();
    let tags: Vec<_> = list(service, "Tags").iter().filter_map(Value::as_str).collect();
    let checks = if bad.is_empty() { format!("{} passing", checks.len()) } else { bad.join("; ") };
    vec![format!("{address}:{}", text(service, "Port")), health, text(node, "Node"), tags.join(","), checks]
}
