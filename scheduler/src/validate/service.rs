//! Services and checks.

use std::time::Duration;

use model::{
    Group, Task,
    resource::Network,
    service::{CheckSpec, Probe, Provider, Service},
};

use super::{Report, name};
use crate::spec::suggest;

const SECOND: Duration = Duration::from_secs(1);

/// The same name on the same port twice would be one instance overwriting the other.
pub fn twins(g: &Group, place: &str, report: &mut Report) {
    let all: Vec<&Service> = g.all_services().collect();
    for (i, s) in all.iter().enumerate() {
        let same = |o: &&Service| o.name == s.name && o.port == s.port && o.task == s.task && o.tags == s.tags;
        report.rule(!all[..i].iter().any(same), place, || {
            format!("service {:?} on port {:?} is defined twice", s.name, s.port)
        });
    }
}

pub fn service(g: &Group, s: &Service, holder: Option<&Task>, parent: &str, report: &mut Report) {
    let place = format!("{parent} > service {:?}", s.name);
    if let Some(wrong) = name::service(&s.name) {
        report.error(parent, format!("the service name {:?} {wrong}", s.name));
    }
    if let Some(task) = &s.task {
        report.rule(g.task(task).is_some(), &place, || {
            format!("\"task\" names {:?}, which the group does not have", task.as_str())
        });
    }
    port(g, holder, &s.port, &place, report);
    name::keys(&s.meta, "meta", &place, report);
    name::keys(&s.canary_meta, "canary_meta", &place, report);
    report.rule(s.weight_passing > 0, &place, || "weights: \"passing\" must be at least 1".into());
    for (i, c) in s.checks.iter().enumerate() {
        let at = if c.name.is_empty() {
            format!("{place} > check #{}", i + 1)
        } else {
            format!("{place} > check {:?}", c.name)
        };
        check(g, s, c, holder, &at, report);
        report.rule(c.name.is_empty() || !s.checks[..i].iter().any(|o| o.name == c.name), &place, || {
            format!("check {:?} is defined twice; names must be unique", c.name)
        });
    }
}

/// A port is a number, a label of the group, or a label of the task's own network.
fn port(g: &Group, holder: Option<&Task>, port: &str, place: &str, report: &mut Report) {
    if port.is_empty() || port.contains("${") {
        return;
    }
    if let Ok(n) = port.parse::<i64>() {
        report.rule((1..=65535).contains(&n), place, || format!("\"port\" must be between 1 and 65535, not {n}"));
        return;
    }
    let own = |t: &Task| t.resources.network.clone().into_iter();
    let networks: Vec<Network> = match holder {
        Some(t) => own(t).chain(g.networks.iter().cloned()).collect(),
        None => g.networks.iter().cloned().chain(g.tasks.iter().flat_map(own)).collect(),
    };
    let labels: Vec<&str> = networks.iter().flat_map(|n| &n.ports).map(|p| p.label.as_str()).collect();
    report.rule(labels.contains(&port), place, || {
        let hint = suggest::hint(port, labels.iter().copied());
        format!("there is no port {port:?}; add port \"{port}\" {{}} to the group's network.{hint}")
    });
}

fn check(g: &Group, s: &Service, c: &CheckSpec, holder: Option<&Task>, place: &str, report: &mut Report) {
    report.rule(c.interval >= SECOND, place, || format!("\"interval\" must be at least 1s, not {:?}", c.interval));
    report.rule(c.timeout >= SECOND, place, || format!("\"timeout\" must be at least 1s, not {:?}", c.timeout));
    let has_port = !(c.port.is_empty() && s.port.is_empty());
    port(g, holder, &c.port, place, report);
    match &c.probe {
        Probe::Http { path, scheme, method, .. } => {
            report.rule(has_port, place, || "an http check needs a \"port\", here or on its service".into());
            report.rule(path.starts_with('/') || path.starts_with("${"), place, || {
                format!("an http check needs a \"path\" that starts with \"/\", not {path:?}")
            });
            report.rule(matches!(scheme.as_str(), "http" | "https"), place, || {
                format!("\"protocol\" must be \"http\" or \"https\", not {scheme:?}")
            });
            report.rule(!method.is_empty() && method.chars().all(|m| m.is_ascii_alphabetic()), place, || {
                format!("\"method\" {method:?} is not an HTTP method")
            });
        }
        Probe::Tcp => report.rule(has_port, place, || "a tcp check needs a \"port\", here or on its service".into()),
        Probe::Grpc { .. } => {
            report.rule(has_port, place, || "a grpc check needs a \"port\", here or on its service".into());
        }
        Probe::Script { command, .. } => script(g, s, c, command, holder, place, report),
        Probe::Ttl { .. } => {
            report.error(place, "a job cannot have a ttl check; register the service through the catalog API")
        }
    }
    if s.provider == Provider::Nomad && !matches!(c.probe, Probe::Http { .. } | Probe::Tcp) {
        report.error(place, "provider \"nomad\" has http and tcp checks only; leave \"provider\" out");
    }
    if c.restart.as_ref().is_some_and(|r| r.limit > 0) && c.on_update == Some(model::service::OnUpdate::Ignore) {
        report.warn(place, "\"on_update\" is \"ignore\", but \"check_restart\" still restarts the task");
    }
}

fn script(
    g: &Group,
    s: &Service,
    c: &CheckSpec,
    command: &str,
    holder: Option<&Task>,
    place: &str,
    report: &mut Report,
) {
    report.rule(!command.is_empty(), place, || "a script check needs a \"command\"".into());
    let task = c.task.as_ref().or(s.task.as_ref());
    match (task, holder) {
        (Some(t), _) => report.rule(g.task(t).is_some(), place, || {
            format!("\"task\" names {:?}, which the group does not have", t.as_str())
        }),
        (None, Some(_)) => {}
        (None, None) => report.error(place, "a script check of a group's service needs a \"task\" to run in"),
    }
}
