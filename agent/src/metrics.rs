//! The figures of `/v1/metrics`: gathered from one snapshot, written as Prometheus text or as Nomad-shaped JSON.
//!
//! Owns names and formats. Refuses sampling: every figure is read when it is asked for, so an idle agent pays nothing.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use model::{ClientStatus, EvalStatus, NodeStatus, State, check::Verdict};
use serde_json::{Value, json};

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Lower-case words joined by `_`.
    pub name: &'static str,
    pub help: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
    /// Only rises.
    pub counter: bool,
}

impl Figure {
    /// A value that goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, labels: Vec::new(), value, counter: false }
    }

    /// A value that only rises.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { counter: true, ..Self::gauge(name, help, value) }
    }

    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// A count as a figure's value. Counts stay far below 2^53, where this is exact.
#[allow(clippy::cast_precision_loss)]
#[must_use]
pub const fn count(n: usize) -> f64 {
    n as f64
}

/// An index as a figure's value; see [`count`].
#[allow(clippy::cast_precision_loss)]
#[must_use]
pub const fn index(n: u64) -> f64 {
    n as f64
}

/// What the state holds.
#[must_use]
pub fn of_state(state: &State) -> Vec<Figure> {
    let mut all = vec![
        Figure::gauge("trine_state_index", "Last applied entry of the log", index(state.index.0)),
        Figure::gauge("trine_jobs", "Registered jobs", count(state.jobs.len())),
        Figure::gauge("trine_kv_entries", "Keys in the key-value store", count(state.kv.len())),
        Figure::gauge("trine_sessions", "Sessions", count(state.sessions.len())),
        Figure::gauge("trine_services", "Services in the catalog", count(state.services.len())),
        Figure::gauge("trine_load_balancers", "Load balancers that follow the catalog", count(state.balancers.len())),
    ];
    let mut allocs = BTreeMap::from(
        [
            ClientStatus::Pending,
            ClientStatus::Running,
            ClientStatus::Complete,
            ClientStatus::Failed,
            ClientStatus::Lost,
            ClientStatus::Unknown,
        ]
        .map(|s| (s.as_str(), 0)),
    );
    for alloc in state.allocs.values() {
        *allocs.entry(alloc.client.as_str()).or_default() += 1;
    }
    all.extend(by("trine_allocations", "Allocations by client status", "status", allocs));
    let mut evals = BTreeMap::new();
    for eval in state.evals.values() {
        *evals.entry(eval.status.as_str()).or_default() += 1;
    }
    evals.entry(EvalStatus::Blocked.as_str()).or_default();
    all.extend(by("trine_evaluations", "Evaluations by status", "status", evals));
    let mut nodes = BTreeMap::from([NodeStatus::Ready, NodeStatus::Down].map(|s| (s.as_str(), 0)));
    for node in state.nodes.values() {
        *nodes.entry(node.status.as_str()).or_default() += 1;
    }
    all.extend(by("trine_nodes", "Nodes by status", "status", nodes));
    let active = state.deployments.values().filter(|d| d.status.active()).count();
    all.push(Figure::gauge("trine_deployments_active", "Deployments that are not over", count(active)));
    let mut instances =
        BTreeMap::from([Verdict::Passing, Verdict::Warning, Verdict::Critical].map(|v| (v.as_str(), 0)));
    for instance in state.services.values().flat_map(|s| s.instances.values()) {
        *instances.entry(state.verdict_of(instance).as_str()).or_default() += 1;
    }
    all.extend(by("trine_instances", "Service instances by health", "health", instances));
    all
}

fn by(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counts: BTreeMap<&'static str, usize>,
) -> impl Iterator<Item = Figure> {
    counts.into_iter().map(move |(key, n)| Figure::gauge(name, help, count(n)).with(label, key))
}

/// What the process uses.
#[must_use]
pub fn of_process(up: Duration) -> Vec<Figure> {
    let mut all = vec![Figure::gauge("trine_uptime_seconds", "Time since the agent started", up.as_secs_f64())];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    if let Some(kib) = field("VmRSS:") {
        all.push(Figure::gauge("process_resident_memory_bytes", "Resident memory", kib * 1024.0));
    }
    if let Some(threads) = field("Threads:") {
        all.push(Figure::gauge("process_threads", "Threads", threads));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        all.push(Figure::gauge("process_open_fds", "Open file descriptors", count(files.count())));
    }
    all
}

/// The Prometheus text format. Figures of one name must follow each other.
#[must_use]
pub fn prometheus(figures: &[Figure]) -> String {
    let mut out = String::new();
    let mut last = "";
    for figure in figures {
        if figure.name != last {
            last = figure.name;
            let kind = if figure.counter { "counter" } else { "gauge" };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {last} {}\n# TYPE {last} {kind}", figure.help);
        }
        let labels: Vec<String> = figure.labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(out, "{}{labels} {}", figure.name, figure.value);
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The JSON document of `/v1/metrics`; `timestamp` is text such as `2026-11-22 13:10:00 +0000 UTC`.
#[must_use]
pub fn json(figures: &[Figure], timestamp: &str) -> Value {
    let entry = |f: &Figure| {
        let labels: BTreeMap<_, _> = f.labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
        if f.counter {
            json!({ "Name": f.name, "Labels": labels, "Count": 1, "Sum": f.value, "Min": f.value, "Max": f.value,
                    "Mean": f.value, "Rate": 0.0, "Stddev": 0.0 })
        } else {
            json!({ "Name": f.name, "Labels": labels, "Value": f.value })
        }
    };
    let (counters, gauges): (Vec<_>, Vec<_>) = figures.iter().partition(|f| f.counter);
    json!({
        "Timestamp": timestamp,
        "Gauges": gauges.into_iter().map(entry).collect::<Vec<_>>(),
        "Counters": counters.into_iter().map(entry).collect::<Vec<_>>(),
        "Points": [],
        "Samples": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let mut figures = of_state(&State::default());
        figures.extend(of_process(Duration::from_secs(1)));
        figures.push(Figure::counter("trine_lb_requests_total", "Requests", 3.0).with("status", "2\"x"));
        let text = prometheus(&figures);
        assert!(text.contains("# TYPE trine_allocations gauge\ntrine_allocations{status=\"complete\"} 0\n"), "{text}");
        assert!(text.contains("trine_lb_requests_total{status=\"2\\\"x\"} 3"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        let names: Vec<_> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len(), "one header for each name: {text}");
        let document = json(&figures, "now");
        assert_eq!(document["Counters"][0]["Name"], "trine_lb_requests_total");
        assert!(document["Gauges"].as_array().unwrap().iter().any(|g| g["Name"] == "trine_jobs"));
    }
}
