//! The five steps and the sixth that is refused: what is done, what must be seen, what is printed.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    Failed, Page, Reason, Scene,
    files::{Driver, File},
    lookup, missing,
    scheduler::{self, Alloc, Registered},
    traffic,
};
use crate::cli::client::Client;

const JOB: &str = "http-echo";
const NAME: &str = "http-echo.service.consul";
const INSTANCES: usize = 5;
const REQUESTS: usize = 1000;
const ROUTE: &str = "/http-echo";
/// From a check that passes to an answer everywhere; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Go through all steps.
pub(super) async fn all(scene: &Scene, page: &Page) -> Result<(), Failed> {
    let titles = [
        "One web server",
        "Five of them, on ports of their own",
        "Five with a name: service discovery",
        "One address for all: load balancing",
        "The load balancer as a job",
        "A canary deployment under load",
    ];
    let mut submitted = None;
    for (n, title) in titles.into_iter().enumerate() {
        page.title(n + 1, title);
        let result = match n {
            0 => one_server(scene, page).await,
            1 => five_servers(scene, page).await,
            2 => discovery(scene, page).await.map(|s| submitted = Some(s)),
            3 => balancing(scene, page).await,
            4 => balancer_job(scene, page).await,
            _ => canary(scene, page).await,
        };
        result.map_err(|reason| Failed { step: n + 1, title, reason })?;
    }
    urls(scene, page);
    Ok(())
}

async fn submit(scene: &Scene, page: &Page, file: &File) -> Result<Registered, Reason> {
    page.command(&format!("trine job run {}", file.path));
    Ok(scheduler::submit(&scene.scheduler, file).await?)
}

/// The first line of what an address answers.
async fn curl(address: &str, path: &str) -> Result<String, Reason> {
    let client = Client::balancer(Some(address))?;
    let body = client.raw(http::Method::GET, path, None).await?;
    Ok(String::from_utf8_lossy(&body).trim_end().to_owned())
}

/// Try until it works; a task that has just started needs a moment to listen.
async fn eventually<T>(attempt: impl AsyncFn() -> Result<T, Reason>) -> Result<T, Reason> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            result => return result,
        }
    }
}

async fn one_server(scene: &Scene, page: &Page) -> Result<(), Reason> {
    scheduler::driver_works(&scene.scheduler, scene.files.driver.name()).await?;
    let submitted = submit(scene, page, &scene.files.simple).await?;
    let allocs = scheduler::running(&scene.scheduler, JOB, 1, &submitted).await?;
    let address = address_of(&allocs[0])?;
    if !address.ends_with(&format!(":{}", scene.files.static_port)) {
        return missing(format!("the job asks for port {}, but runs on {address}", scene.files.static_port));
    }
    let text = eventually(async || greeting(&address).await).await?;
    page.command(&format!("curl http://{address}/"));
    page.shows(&text);
    page.command(&format!("curl http://{address}/health"));
    page.shows(&curl(&address, "/health").await?);
    Ok(())
}

async fn greeting(address: &str) -> Result<String, Reason> {
    let text = curl(address, "/").await?;
    if text.contains("Hello and welcome to") { Ok(text) } else { missing(format!("{address} answers {text:?}")) }
}

fn address_of(alloc: &Alloc) -> Result<String, Reason> {
    alloc.address().map_or_else(|| missing(format!("allocation {} has no port labelled http", alloc.id)), Ok)
}

async fn five_servers(scene: &Scene, page: &Page) -> Result<(), Reason> {
    let submitted = submit(scene, page, &scene.files.scaled).await?;
    let allocs = scheduler::running(&scene.scheduler, JOB, INSTANCES, &submitted).await?;
    let mut seen = BTreeSet::new();
    for alloc in &allocs {
        let address = address_of(alloc)?;
        let text = eventually(async || greeting(&address).await).await?;
        page.shows(&format!("{}  NOMAD_ADDR_http={address}  {text}", &alloc.id[..8.min(alloc.id.len())]));
        seen.insert(address);
    }
    if seen.len() != INSTANCES {
        return missing(format!("{INSTANCES} instances share {} addresses", seen.len()));
    }
    // A deployment that still runs would be cancelled by the next file.
    scheduler::deployed(&scene.scheduler, JOB, &submitted).await?;
    Ok(())
}

async fn discovery(scene: &Scene, page: &Page) -> Result<Registered, Reason> {
    let submitted = submit(scene, page, &scene.files.discovered).await?;
    let allocs = scheduler::running(&scene.scheduler, JOB, INSTANCES, &submitted).await?;
    let wanted: BTreeSet<String> = allocs.iter().map(address_of).collect::<Result<_, _>>()?;
    let healthy = eventually(async || healthy(scene, &wanted).await).await?;
    let dns = scene.addresses.dns;
    let a = lookup::addresses(dns, NAME).await?;
    if a.is_empty() {
        return missing(format!("{NAME} has no A record"));
    }
    page.command(&format!("dig @{} -p {} {NAME} +short", dns.ip(), dns.port()));
    page.shows(&a.join("\n"));
    let srv = lookup::instances(dns, NAME).await?;
    let ports: BTreeSet<u16> = srv.iter().map(|s| s.port).collect();
    let wanted_ports: BTreeSet<u16> = wanted.iter().filter_map(|a| a.rsplit(':').next()?.parse().ok()).collect();
    if ports != wanted_ports {
        return missing(format!("SRV records of {NAME} name the ports {ports:?}, not {wanted_ports:?}"));
    }
    page.command(&format!("dig @{} -p {} {NAME} SRV +short", dns.ip(), dns.port()));
    for record in &srv {
        page.shows(&format!("1 1 {} {}", record.port, record.target));
    }
    page.command(&format!("curl {}/v1/health/service/{JOB}?passing", scene.catalog.base()));
    for line in &healthy {
        page.shows(line);
    }
    scheduler::deployed(&scene.scheduler, JOB, &submitted).await?;
    Ok(submitted)
}

/// The catalog's healthy instances, once they are exactly those wanted.
async fn healthy(scene: &Scene, wanted: &BTreeSet<String>) -> Result<Vec<String>, Reason> {
    let found: Vec<Value> = scene.catalog.get(&format!("/v1/health/service/{JOB}?passing")).await?;
    let mut addresses = BTreeSet::new();
    let mut lines = Vec::new();
    for entry in &found {
        let (service, node) = (&entry["Service"], &entry["Node"]);
        let ip = [&service["Address"], &node["Address"]].into_iter().find_map(|v| v.as_str().filter(|s| !s.is_empty()));
        let address = format!("{}:{}", ip.unwrap_or("?"), service["Port"]);
        let checks = entry["Checks"].as_array().map_or(0, Vec::len);
        lines.push(format!(
            "{address}  on {}  {} checks passing  tags {}",
            node["Node"].as_str().unwrap_or("?"),
            checks,
            service["Tags"]
        ));
        addresses.insert(address);
    }
    if addresses == *wanted {
        Ok(lines)
    } else {
        missing(format!("the catalog has {addresses:?} healthy, not {wanted:?}"))
    }
}

async fn balancing(scene: &Scene, page: &Page) -> Result<(), Reason> {
    let lb = scene.addresses.lb;
    eventually(async || {
        let text = curl(&lb.to_string(), ROUTE).await?;
        if text.contains("Hello and welcome") { Ok(()) } else { missing(text) }
    })
    .await?;
    page.command(&format!("for i in $(seq {REQUESTS}); do curl http://{lb}{ROUTE}; done"));
    let started = Instant::now();
    let tally = traffic::burst(lb, ROUTE, REQUESTS).await?;
    let took = started.elapsed();
    tally.expect_no_failure()?;
    for (instance, count) in &tally.by_instance {
        page.shows(&format!("{count:>5}  {instance}"));
    }
    page.shows(&format!(
        "{} requests, {} failed, spread over {} instances in {:.2} s",
        tally.ok,
        tally.failed,
        tally.by_instance.len(),
        took.as_secs_f64()
    ));
    if tally.ok != REQUESTS || tally.by_instance.len() != INSTANCES {
        return missing(format!("{REQUESTS} requests should reach {INSTANCES} instances: {:?}", tally.by_instance));
    }
    Ok(())
}

async fn balancer_job(scene: &Scene, page: &Page) -> Result<(), Reason> {
    page.shows(&format!(
        "This agent's own load balancer holds port {}. On an agent without it, lb {{ enabled = false }}, this file runs the\n\
         same program as a system job. Here it is refused:",
        scene.addresses.lb.port()
    ));
    page.command(&format!("trine job run {}", scene.files.balancer.path));
    match scheduler::submit(&scene.scheduler, &scene.files.balancer).await {
        Ok(_) => missing("the job was accepted although its ports are held by the agent"),
        Err(e) if e.status().is_some() => {
            page.shows(&format!("Error: {}", e.message()));
            if e.message().contains(&scene.addresses.lb.port().to_string()) {
                return Ok(());
            }
            missing("the refusal does not name the port")
        }
        Err(e) => Err(e.into()),
    }
}

async fn canary(scene: &Scene, page: &Page) -> Result<(), Reason> {
    let lb = scene.addresses.lb;
    let stream = traffic::Stream::start(lb, ROUTE)?;
    let result = deploy(scene, page).await;
    let tally = stream.stop().await;
    let allocs = result?;
    tally.expect_no_failure()?;
    page.shows(&format!(
        "{} requests meanwhile, {} failed, {} answered by the new version",
        tally.ok, tally.failed, tally.updated
    ));
    for alloc in &allocs {
        let address = address_of(alloc)?;
        let text = curl(&address, "/").await?;
        if !text.contains("Update successful!") {
            return missing(format!("{address} still answers {text:?}"));
        }
    }
    let text = curl(&lb.to_string(), ROUTE).await?;
    page.command(&format!("curl http://{lb}{ROUTE}"));
    page.shows(&text);
    if text.contains("Update successful!") {
        Ok(())
    } else {
        missing(format!("the load balancer still answers {text:?}"))
    }
}

/// The new version beside the old one, then instead of it.
async fn deploy(scene: &Scene, page: &Page) -> Result<Vec<Alloc>, Reason> {
    let api = &scene.scheduler;
    let submitted = submit(scene, page, &scene.files.canary).await?;
    let deployment = scheduler::canary(api, JOB, &submitted).await?;
    page.shows(&format!(
        "deployment {}: 1 canary healthy beside 5 old instances",
        &deployment.id[..8.min(deployment.id.len())]
    ));
    page.command(&format!("trine job promote {JOB}"));
    scheduler::promote(api, &deployment).await?;
    let done = scheduler::deployed(api, JOB, &submitted).await?;
    let allocs = scheduler::running(api, JOB, INSTANCES, &submitted).await?;
    page.shows(&format!("deployment {}: {}, 5 new instances", &done.id[..8.min(done.id.len())], done.status));
    Ok(allocs)
}

fn urls(scene: &Scene, page: &Page) {
    let a = &scene.addresses;
    page.text("");
    page.text("All steps done. Look around:");
    page.shows(&format!("http://{}{ROUTE}   the load-balanced service", a.lb));
    page.shows(&format!("http://{}/ui          jobs, allocations, logs, services", a.http));
    page.shows(&format!("http://{}             the load balancer's routes", a.lb_admin));
    if scene.files.driver == Driver::RawExec {
        page.shows("trine walkthrough -driver docker    the same in containers");
    }
}
