//! The keys of the configuration files, block by block.
//!
//! Names follow Nomad's where it has one. A block for something that is not built is refused, not skipped.

use std::{cell::RefCell, net::IpAddr, path::PathBuf};

use super::{
    Client, Config, Error, HostVolume, Ports, Reserved, Strategy,
    section::{Section, parse_flag},
    tree::Map,
};

const PORT: std::ops::RangeInclusive<i64> = 0..=65_535;
const MEGABYTES: std::ops::RangeInclusive<i64> = 0..=1 << 32;
const MEGAHERTZ: std::ops::RangeInclusive<i64> = 0..=10_000_000;

/// Set `target` if the key was there.
macro_rules! set {
    ($target:expr, $value:expr) => {
        if let Some(value) = $value {
            $target = value;
        }
    };
}

/// Merge one file into `config`.
pub(super) fn apply(config: &mut Config, map: &Map) -> Result<(), Error> {
    let problems = RefCell::new(Vec::new());
    let mut root = Section::new("", map, &problems);
    top(config, &mut root);
    root.finish();
    let problems = problems.into_inner();
    if problems.is_empty() { Ok(()) } else { Err(Error::Problems(problems)) }
}

fn top(config: &mut Config, s: &mut Section<'_>) {
    set!(config.region, s.text("region"));
    set!(config.datacenter, s.text("datacenter"));
    set!(config.name, s.text("name"));
    set!(config.data_dir, s.text("data_dir").map(|d| Some(PathBuf::from(d))));
    set!(config.bind_addr, s.parsed::<IpAddr>("bind_addr"));
    set!(config.insecure, s.flag("insecure"));
    set!(config.log_level, s.text("log_level"));
    set!(config.log_json, s.flag("log_json"));
    s.section("advertise", |s| {
        set!(config.advertise.http, s.text("http").map(Some));
        set!(config.advertise.rpc, s.text("rpc").map(Some));
        set!(config.advertise.address, s.parsed::<IpAddr>("address").map(Some));
    });
    s.section("ports", |s| ports(&mut config.ports, s));
    s.section("server", |s| server(config, s));
    s.section("client", |s| client(&mut config.client, s));
    for (option, value) in config.client.options.clone() {
        if let (Some(on), "driver.raw_exec.enable") = (parse_flag(&value), option.as_str()) {
            config.drivers.raw_exec = on;
        }
    }
    s.section("discovery", |s| discovery(config, s));
    s.section("lb", |s| lb(config, s));
    plugins(config, s);
    s.section("telemetry", |s| set!(config.telemetry.prometheus_metrics, s.flag("prometheus_metrics")));
    for (key, what) in [
        ("tls", "TLS is not built yet: keep bind_addr on loopback or a private network"),
        ("acl", "ACLs are not built yet"),
    ] {
        if let Some(at) = s.position_of(key) {
            let at = at.clone();
            s.problem(&at, format!("`{key}`: {what}. Remove the block, so that nobody counts on it"));
        }
    }
}

fn ports(ports: &mut Ports, s: &mut Section<'_>) {
    set!(ports.http, s.number("http", PORT));
    set!(ports.rpc, s.number("rpc", PORT));
    set!(ports.catalog, s.number("catalog", PORT));
    set!(ports.dns, s.number("dns", PORT));
    set!(ports.lb, s.number("lb", PORT));
    set!(ports.lb_admin, s.number("lb_admin", PORT));
}

fn server(config: &mut Config, s: &mut Section<'_>) {
    set!(config.server.enabled, s.flag("enabled"));
    set!(config.server.bootstrap_expect, s.number("bootstrap_expect", 1..=9));
    for key in ["retry_join", "server_join"] {
        if let Some(at) = s.position_of(key) {
            let at = at.clone();
            s.problem(&at, format!("`server.{key}`: clusters of several servers are not built yet; run one server"));
        }
    }
}

fn client(client: &mut Client, s: &mut Section<'_>) {
    set!(client.enabled, s.flag("enabled"));
    set!(client.servers, s.texts("servers"));
    set!(client.node_class, s.text("node_class"));
    set!(client.node_pool, s.text("node_pool"));
    if let Some(meta) = s.table("meta") {
        client.meta.extend(meta);
    }
    if let Some(options) = s.table("options") {
        client.options.extend(options);
    }
    s.section("reserved", |s| reserved(&mut client.reserved, s));
    set!(client.cpu_total_mhz, s.number("cpu_total_compute", 1..=10_000_000).map(Some));
    set!(client.memory_total_mb, s.number("memory_total_mb", 1..=1 << 32).map(Some));
    set!(client.min_dynamic_port, s.number("min_dynamic_port", 1024..=65_535));
    set!(client.max_dynamic_port, s.number("max_dynamic_port", 1024..=65_535));
    set!(client.max_kill_timeout, s.duration("max_kill_timeout"));
    set!(client.leave_tasks_running, s.flag("leave_tasks_running"));
    let volumes = &mut client.host_volumes;
    s.labelled("host_volume", |name, at, s| {
        let path = s.text("path");
        let read_only = s.flag("read_only").unwrap_or(false);
        match path {
            Some(path) => {
                volumes.insert(name.to_owned(), HostVolume { path: path.into(), read_only });
            }
            None => s.problem(at, format!("host_volume {name:?} needs a `path`")),
        }
    });
}

fn reserved(reserved: &mut Reserved, s: &mut Section<'_>) {
    set!(reserved.cpu_mhz, s.number("cpu", MEGAHERTZ));
    set!(reserved.memory_mb, s.number("memory", MEGABYTES));
    set!(reserved.disk_mb, s.number("disk", MEGABYTES));
    let at = s.position_of("reserved_ports").cloned();
    if let (Some(at), Some(text)) = (at, s.text("reserved_ports")) {
        match port_list(&text) {
            Some(list) => reserved.ports = list,
            None => s.problem(
                &at,
                format!(
                    "`client.reserved.reserved_ports` = {text:?}: write ports and ranges, such as \"22,80,8000-8100\""
                ),
            ),
        }
    }
}

/// `22,80,8000-8100`.
fn port_list(text: &str) -> Option<Vec<u16>> {
    let mut out = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?;
        if range.is_empty() {
            return None;
        }
        out.extend(range);
    }
    Some(out)
}

fn discovery(config: &mut Config, s: &mut Section<'_>) {
    set!(config.discovery.enabled, s.flag("enabled"));
    set!(config.discovery.domain, s.text("domain").map(|d| d.trim_matches('.').to_ascii_lowercase()));
    set!(config.discovery.service_ttl, s.duration("service_ttl"));
    set!(config.discovery.node_ttl, s.duration("node_ttl"));
}

fn lb(config: &mut Config, s: &mut Section<'_>) {
    set!(config.lb.enabled, s.flag("enabled").map(Some));
    set!(config.lb.bind_addr, s.parsed::<IpAddr>("bind_addr").map(Some));
    set!(config.lb.admin_bind_addr, s.parsed::<IpAddr>("admin_bind_addr").map(Some));
    set!(config.lb.cores, s.number("cores", 1..=1024).map(Some));
    set!(config.lb.servers, s.texts("servers"));
    let at = s.position_of("strategy").cloned();
    if let (Some(at), Some(text)) = (at, s.text("strategy")) {
        match text.as_str() {
            "rr" => config.lb.strategy = Strategy::RoundRobin,
            "rnd" => config.lb.strategy = Strategy::Random,
            other => {
                s.problem(&at, format!("`lb.strategy` is \"rr\" (round robin) or \"rnd\" (random), not {other:?}"))
            }
        }
    }
}

fn plugins(config: &mut Config, s: &mut Section<'_>) {
    let drivers = &mut config.drivers;
    s.labelled("plugin", |name, at, s| match name {
        "raw_exec" => s.section("config", |s| set!(drivers.raw_exec, s.flag("enabled"))),
        "mock_driver" => s.section("config", |s| set!(drivers.mock, s.flag("enabled"))),
        "docker" => s.section("config", |s| {
            let docker = &mut drivers.docker;
            set!(docker.enabled, s.flag("enabled"));
            set!(docker.endpoint, s.text("endpoint"));
            set!(docker.allow_privileged, s.flag("allow_privileged"));
            set!(docker.pull_timeout, s.duration("image_pull_timeout"));
            s.section("volumes", |s| set!(docker.volumes, s.flag("enabled")));
        }),
        other => {
            // What is inside cannot be judged, so nothing in it is called unknown.
            s.forget();
            s.problem(at, format!("there is no plugin {other:?}; task drivers are raw_exec, docker and mock_driver"));
        }
    });
}
