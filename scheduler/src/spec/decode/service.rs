//! Services and checks.

use std::time::Duration;

use model::{
    TaskName,
    service::{CheckRestart, CheckSpec, Probe, Service},
};

use crate::spec::{
    suggest,
    tree::{Block, Error},
    words::word,
};

const PROBES: [&str; 4] = ["http", "tcp", "script", "grpc"];

/// The services of a group (`task` absent) or of a task.
pub fn services(holder: &Block, task: Option<&TaskName>) -> Result<Vec<Service>, Error> {
    holder.blocks("service").iter().map(|b| service(b, task)).collect()
}

fn service(b: &Block, holder: Option<&TaskName>) -> Result<Service, Error> {
    let weights = b.one("weights");
    let weight = |name: &str| Ok(weights.map(|w| w.number::<u32>(name)).transpose()?.flatten().unwrap_or(1));
    let outer = b.one("check_restart");
    Ok(Service {
        name: b.text("name"),
        provider: word(b, "provider")?.unwrap_or_default(),
        port: b.text("port"),
        tags: b.strings("tags"),
        canary_tags: b.strings("canary_tags"),
        enable_tag_override: b.flag("enable_tag_override"),
        address: b.text("address"),
        address_mode: word(b, "address_mode")?.unwrap_or_default(),
        meta: b.map("meta"),
        canary_meta: b.map("canary_meta"),
        on_update: word(b, "on_update")?.unwrap_or_default(),
        checks: b.blocks("check").iter().map(|c| check(c, outer)).collect::<Result<_, _>>()?,
        weight_passing: weight("passing")?,
        weight_warning: weight("warning")?,
        task: holder.cloned().or_else(|| b.str("task").map(Into::into)),
    })
}

fn check(b: &Block, outer: Option<&Block>) -> Result<CheckSpec, Error> {
    Ok(CheckSpec {
        name: b.text("name"),
        probe: probe(b)?,
        port: b.text("port"),
        address_mode: word(b, "address_mode")?,
        interval: b.duration("interval").unwrap_or(Duration::ZERO),
        timeout: b.duration("timeout").unwrap_or(Duration::ZERO),
        initial: word(b, "initial_status")?,
        success_before_passing: b.number("success_before_passing")?.unwrap_or(0),
        failures_before_critical: b.number("failures_before_critical")?.unwrap_or(0),
        failures_before_warning: b.number("failures_before_warning")?.unwrap_or(0),
        task: b.str("task").map(Into::into),
        on_update: word(b, "on_update")?,
        restart: b.one("check_restart").or(outer).map(restart).transpose()?,
    })
}

fn probe(b: &Block) -> Result<Probe, Error> {
    match b.str("type") {
        Some("http") => Ok(Probe::Http {
            method: b.str("method").unwrap_or("GET").to_owned(),
            scheme: b.str("protocol").unwrap_or("http").to_owned(),
            path: b.text("path"),
            headers: b.lists("header"),
            body: b.text("body"),
            tls_skip_verify: b.flag("tls_skip_verify"),
        }),
        Some("tcp") => Ok(Probe::Tcp),
        Some("script") => Ok(Probe::Script { command: b.text("command"), args: b.strings("args") }),
        Some("grpc") => Ok(Probe::Grpc { service: b.text("grpc_service"), tls: b.flag("grpc_use_tls") }),
        Some("ttl") if b.has("@ttl") => Ok(Probe::Ttl { ttl: b.duration("@ttl").unwrap_or_default() }),
        Some(other) => Err(b.fail(
            "type",
            format!(
                "a check cannot be of type {other:?}: it is one of {}.{}",
                PROBES.join(", "),
                suggest::hint(other, PROBES)
            ),
        )),
        None => Err(b.fail("type", format!("a check needs a \"type\": one of {}", PROBES.join(", ")))),
    }
}

fn restart(b: &Block) -> Result<CheckRestart, Error> {
    Ok(CheckRestart {
        limit: b.number("limit")?.unwrap_or(0),
        grace: b.duration("grace").unwrap_or(Duration::from_secs(1)),
        ignore_warnings: b.flag("ignore_warnings"),
    })
}
