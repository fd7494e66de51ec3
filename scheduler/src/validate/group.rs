//! Groups: their tasks, ports, volumes and bounds.

use std::collections::BTreeMap;

use model::{
    Group, Job, JobKind,
    resource::{Network, NetworkMode},
};

use super::{Report, constraint, name, per_node, policy, service, task};

pub fn group(job: &Job, g: &Group, report: &mut Report) {
    let place = format!("group {:?}", g.name.as_str());
    if let Some(wrong) = name::directory(g.name.as_str()) {
        report.error("", format!("the group name {:?} {wrong}", g.name.as_str()));
    }
    report.rule(!g.tasks.is_empty(), &place, || "a group needs at least one task".into());
    report.rule(job.kind != JobKind::System || g.count <= 1, &place, || {
        format!("a system job runs once on every node: \"count\" cannot be {}", g.count)
    });
    constraint::all(&g.constraints, &g.affinities, &g.spreads, &place, report);
    if job.kind.per_node() {
        report.rule(g.affinities.is_empty(), &place, || per_node(job.kind, "affinity"));
        report.rule(g.spreads.is_empty(), &place, || per_node(job.kind, "spread"));
    }
    policy::all(job.kind, g, &place, report);
    name::keys(&g.meta, "meta", &place, report);
    bounds(g, &place, report);
    networks(g, &place, report);
    volumes(g, &place, report);
    if g.disconnect.is_some() {
        report.warn(&place, "\"disconnect\" is not honoured: a node that is lost has its allocations replaced at once");
    }
    let leaders = g.tasks.iter().filter(|t| t.leader).count();
    report.rule(leaders <= 1, &place, || format!("{leaders} tasks are leaders; one at most"));
    for (i, t) in g.tasks.iter().enumerate() {
        report.rule(!g.tasks[..i].iter().any(|o| o.name == t.name), &place, || {
            format!("task {:?} is defined twice; names must be unique", t.name.as_str())
        });
        task::task(g, t, &place, report);
    }
    service::twins(g, &place, report);
    for s in &g.services {
        service::service(g, s, None, &place, report);
    }
}

fn bounds(g: &Group, place: &str, report: &mut Report) {
    report.rule(g.disk.size_mb >= 10, place, || {
        format!("ephemeral_disk: \"size\" must be at least 10 MB, not {}", g.disk.size_mb)
    });
    let logs = |t: &model::Task| {
        if t.logs.disabled { 0 } else { u64::from(t.logs.max_files) * u64::from(t.logs.max_file_size_mb) }
    };
    let logs: u64 = g.tasks.iter().map(logs).sum();
    report.rule(logs <= g.disk.size_mb, place, || {
        format!(
            "the tasks' logs may take {logs} MB, more than the group's disk of {} MB; raise ephemeral_disk \"size\" or lower \"logs\"",
            g.disk.size_mb
        )
    });
    let Some(s) = &g.scaling else { return };
    report.rule(s.min <= g.count, place, || format!("scaling: \"min\" ({}) is above \"count\" ({})", s.min, g.count));
    if let Some(max) = s.max {
        report.rule(s.min <= max, place, || format!("scaling: \"min\" ({}) is above \"max\" ({max})", s.min));
        report.rule(g.count <= max, place, || format!("scaling: \"count\" ({}) is above \"max\" ({max})", g.count));
    }
}

fn networks(g: &Group, place: &str, report: &mut Report) {
    report.rule(g.networks.len() <= 1, place, || "a group has one network; put all ports into the first".into());
    for n in &g.networks {
        mode(g, n, place, report);
    }
    let all = g.networks.iter().chain(g.tasks.iter().filter_map(|t| t.resources.network.as_ref()));
    let mut taken: BTreeMap<(u16, &str), &str> = BTreeMap::new();
    for n in all {
        let mut labels: Vec<&str> = Vec::new();
        for p in &n.ports {
            if let Some(wrong) = name::port(&p.label) {
                report.error(place, format!("the port label {:?} {wrong}", p.label));
            }
            report.rule(!labels.contains(&p.label.as_str()), place, || {
                format!("port {:?} is defined twice; labels must be unique", p.label)
            });
            labels.push(&p.label);
            let Some(port) = p.fixed.filter(|_| !p.ignore_collision) else { continue };
            if let Some(other) = taken.insert((port, &p.host_network), &p.label) {
                report.error(place, format!("ports {other:?} and {:?} both want the static port {port}", p.label));
            }
            if g.count > 1 {
                report.warn(
                    place,
                    format!(
                        "port {:?} is static, so each of the {} allocations needs a node of its own",
                        p.label, g.count
                    ),
                );
            }
        }
    }
}

fn mode(g: &Group, n: &Network, place: &str, report: &mut Report) {
    match &n.mode {
        NetworkMode::Cni(name) => {
            report.error(place, format!("network: mode \"cni/{name}\" cannot be run; use \"host\" or \"bridge\""));
        }
        NetworkMode::Bridge | NetworkMode::None => {
            for t in g.tasks.iter().filter(|t| t.driver == "raw_exec") {
                let message = format!(
                    "network: task {:?} uses raw_exec, which shares the host's network; use mode \"host\"",
                    t.name.as_str()
                );
                report.error(place, message);
            }
            if g.tasks.len() > 1 && n.mode == NetworkMode::Bridge {
                report.warn(place, "network: in mode \"bridge\" the tasks of a group do not share localhost");
            }
        }
        NetworkMode::Host => {}
    }
}

fn volumes(g: &Group, place: &str, report: &mut Report) {
    for (name, v) in &g.volumes {
        match v.kind.as_str() {
            "host" => report.rule(!v.source.is_empty(), place, || {
                format!("volume {name:?} needs a \"source\": the name of a host volume in the client's config")
            }),
            "csi" => report
                .error(place, format!("volume {name:?} is of type \"csi\", which cannot be run; use a host volume")),
            other => report.error(place, format!("volume {name:?} cannot be of type {other:?}: it is \"host\"")),
        }
    }
}
