//! Counters in Prometheus' text format.

use std::{collections::HashSet, fmt::Write};

use crate::{core::Sums, table::Table};

/// All counters, of the load balancer and of the instances it routes to.
#[must_use]
pub fn render(table: &Table, sums: Sums) -> String {
    let mut out = String::with_capacity(4096);
    for (name, kind, help, value) in [
        ("requests_total", "counter", "Requests received.", sums.requests),
        ("no_route_total", "counter", "Requests that no route matched.", sums.no_route),
        ("client_errors_total", "counter", "Requests refused for the client's fault.", sums.client_errors),
        ("gateway_errors_total", "counter", "Requests no instance could answer.", sums.gateway_errors),
        ("connections_total", "counter", "Client connections accepted.", sums.connections),
        ("connections_open", "gauge", "Client connections now.", sums.open),
        ("websockets_open", "gauge", "WebSockets now.", sums.tunnels),
        ("routes", "gauge", "Routes in the table.", table.routes.len() as u64),
        (
            "tag_problems",
            "gauge",
            "Tags or options of tags without effect.",
            table.problems.values().map(|p| p.len() as u64).sum(),
        ),
        ("table_index", "gauge", "The log index the route table was made from.", table.index.0),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP trine_lb_{name} {help}\n# TYPE trine_lb_{name} {kind}\ntrine_lb_{name} {value}");
    }
    instances(table, &mut out);
    out
}

fn instances(table: &Table, out: &mut String) {
    let mut seen = HashSet::new();
    let targets: Vec<_> = table
        .routes
        .values()
        .flat_map(|r| &r.choices)
        .filter(|c| seen.insert(c.target.id))
        .map(|c| (labels(&c.target.key), c.target.totals()))
        .collect();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&crate::target::Totals) -> f64| {
        let _ = writeln!(out, "# HELP trine_lb_instance_{name} {help}\n# TYPE trine_lb_instance_{name} {kind}");
        for (labels, totals) in &targets {
            let _ = writeln!(out, "trine_lb_instance_{name}{{{labels}}} {}", value(totals));
        }
    };
    #[allow(clippy::cast_precision_loss)] // Counters beyond 2^52 are not expected.
    family("requests_total", "counter", "Requests sent to the instance.", &|t| t.requests as f64);
    #[allow(clippy::cast_precision_loss)]
    family("errors_total", "counter", "Requests that failed or were answered 500 and above.", &|t| t.errors as f64);
    #[allow(clippy::cast_precision_loss)]
    family("in_flight", "gauge", "Requests the instance works on.", &|t| t.in_flight as f64);
    family("p99_seconds", "gauge", "99th percentile of the time to the first byte.", &|t| {
        t.p99.map_or(0.0, |p| p.as_secs_f64())
    });
}

fn labels(key: &crate::target::Key) -> String {
    let q = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!(
        "service=\"{}\",node=\"{}\",target=\"{}\"",
        q(key.service.as_str()),
        q(key.node.as_str()),
        q(&key.authority)
    )
}
