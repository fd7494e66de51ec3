//! JSON of the admin API. `/api/routes` and its raw form have Fabio's shape; the rest is ours.

use std::{fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    config::Config,
    core::Sums,
    table::{self, Choice, Table},
    target::Totals,
};

/// One instance of one route, as Fabio shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    pub service: String,
    pub host: String,
    pub path: String,
    /// Host and path.
    pub src: String,
    /// `http://address:port/`, or where a redirect leads.
    pub dst: String,
    pub opts: String,
    /// Always `route add`.
    pub cmd: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// The fraction of the route's traffic.
    pub weight: f64,
    /// Requests per second to the instance, smoothed over a minute.
    pub rate1: f64,
    /// The 99th percentile of the time to the first byte, in seconds.
    pub pct99: f64,
}

/// Every instance of every route, by host and path.
#[must_use]
pub fn routes(table: &Table) -> Vec<Route> {
    let mut all = Vec::new();
    for route in table.routes.values() {
        for (choice, weight) in route.choices.iter().zip(&route.shares) {
            let totals = choice.target.totals();
            all.push(Route {
                service: choice.target.key.service.to_string(),
                host: route.host.clone(),
                path: route.path.clone(),
                src: format!("{}{}", route.host, route.path),
                dst: destination(choice),
                opts: choice.spec.options.clone(),
                cmd: "route add",
                tags: choice.tags.to_vec(),
                weight: *weight,
                rate1: totals.rate,
                pct99: totals.p99.map_or(0.0, |p| p.as_secs_f64()),
            });
        }
    }
    all
}

fn destination(choice: &Choice) -> String {
    match &choice.spec.redirect {
        Some(redirect) => redirect.to.clone(),
        None => format!("http://{}/", choice.target.key.authority),
    }
}

/// The routes in Fabio's command language.
#[must_use]
pub fn raw(routes: &[Route]) -> String {
    let mut out = String::new();
    for r in routes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{} {} {} {} weight {:.4}", r.cmd, r.service, r.src, r.dst, r.weight);
        if !r.tags.is_empty() {
            let _ = write!(out, " tags \"{}\"", r.tags.join(","));
        }
        if !r.opts.is_empty() {
            let _ = write!(out, " opts \"{}\"", r.opts);
        }
        out.push('\n');
    }
    out
}

/// A tag, or an option of one, without effect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    pub service: String,
    pub node: String,
    pub instance: String,
    pub tag: String,
    pub reason: String,
    /// The tag makes no route; otherwise one of its options is ignored.
    pub disabled: bool,
}

#[must_use]
pub fn problems(table: &Table) -> Vec<Problem> {
    let of = |p: &table::Problem| Problem {
        service: p.service.to_string(),
        node: p.node.to_string(),
        instance: p.instance.to_string(),
        tag: p.tag.clone(),
        reason: p.reason.clone(),
        disabled: p.disabled,
    };
    table.problems.values().flat_map(|p| p.iter()).map(of).collect()
}

/// What the page shows, all from one table.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub index: u64,
    pub uptime_seconds: u64,
    pub requests: u64,
    pub no_route: u64,
    pub client_errors: u64,
    pub gateway_errors: u64,
    pub connections: u64,
    pub websockets: u64,
    pub routes: Vec<StatusRoute>,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StatusRoute {
    pub host: String,
    pub path: String,
    pub strategy: &'static str,
    pub services: Vec<String>,
    /// None: the service is registered, and no instance of it is healthy.
    pub instances: Vec<StatusInstance>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StatusInstance {
    pub id: u64,
    pub service: String,
    pub node: String,
    pub dst: String,
    pub opts: String,
    pub weight: f64,
    pub in_flight: usize,
    pub requests: u64,
    pub errors: u64,
    /// Milliseconds to the first byte.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

#[must_use]
pub fn status(table: &Table, sums: Sums, uptime: Duration) -> Status {
    Status {
        index: table.index.0,
        uptime_seconds: uptime.as_secs(),
        requests: sums.requests,
        no_route: sums.no_route,
        client_errors: sums.client_errors,
        gateway_errors: sums.gateway_errors,
        connections: sums.open,
        websockets: sums.tunnels,
        routes: table.routes.values().map(|r| status_route(r)).collect(),
        problems: problems(table),
    }
}

fn status_route(route: &table::Route) -> StatusRoute {
    let instance = |(choice, weight): (&Choice, &f64)| {
        let Totals { in_flight, requests, errors, rate: _, p50, p99 } = choice.target.totals();
        let millis = |d: Option<Duration>| d.map(|d| d.as_secs_f64() * 1e3);
        StatusInstance {
            id: choice.target.id,
            service: choice.target.key.service.to_string(),
            node: choice.target.key.node.to_string(),
            dst: destination(choice),
            opts: choice.spec.options.clone(),
            weight: *weight,
            in_flight,
            requests,
            errors,
            p50_ms: millis(p50),
            p99_ms: millis(p99),
        }
    };
    StatusRoute {
        host: route.host.clone(),
        path: route.path.clone(),
        strategy: route.strategy.as_str(),
        services: route.services.iter().map(ToString::to_string).collect(),
        instances: route.choices.iter().zip(&route.shares).map(instance).collect(),
    }
}

/// The settings in force. Durations in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    listen: SocketAddr,
    cores: usize,
    tag_prefix: String,
    datacenter: String,
    strategy: &'static str,
    no_route_status: u16,
    header_timeout: f64,
    idle_timeout: f64,
    stall_timeout: f64,
    connect_timeout: f64,
    response_timeout: f64,
    upstream_idle_timeout: f64,
    upstream_idle_max: usize,
    max_connections: usize,
    max_header_bytes: usize,
    max_headers: usize,
    attempts: usize,
    shutdown_grace: f64,
    shutdown_wait: f64,
    trusted_proxies: Vec<String>,
}

impl Settings {
    pub(crate) fn of(config: &Config, listen: SocketAddr) -> Self {
        Self {
            listen,
            cores: config.lanes(),
            tag_prefix: config.tag_prefix.clone(),
            datacenter: config.datacenter.clone(),
            strategy: config.strategy.as_str(),
            no_route_status: config.no_route_status,
            header_timeout: config.header_timeout.as_secs_f64(),
            idle_timeout: config.idle_timeout.as_secs_f64(),
            stall_timeout: config.stall_timeout.as_secs_f64(),
            connect_timeout: config.connect_timeout.as_secs_f64(),
            response_timeout: config.response_timeout.as_secs_f64(),
            upstream_idle_timeout: config.upstream_idle_timeout.as_secs_f64(),
            upstream_idle_max: config.upstream_idle_max,
            max_connections: config.max_connections,
            max_header_bytes: config.max_header_bytes,
            max_headers: config.max_headers,
            attempts: config.attempts,
            shutdown_grace: config.shutdown_grace.as_secs_f64(),
            shutdown_wait: config.shutdown_wait.as_secs_f64(),
            trusted_proxies: config.trusted_proxies.iter().map(ToString::to_string).collect(),
        }
    }
}
