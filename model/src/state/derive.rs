//! From an allocation to its service instances: what makes discovery and routing part of the same commit.
//!
//! Pure. The client uses [`templates`] too, to know which checks to run and where; so both sides agree on every id.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    alloc::{Alloc, ClientStatus, TaskPhase},
    catalog::{Check, CheckDefinition, Instance, Source, Weights},
    check::Verdict,
    driver_config::Value,
    id::{CheckId, Index, InstanceId, TaskName},
    interpolate::Variables,
    job::{Group, Job},
    node::Node,
    service::{AddressMode, CheckSpec, Probe, Service},
};

/// A service of an allocation with everything filled in, whether or not it is up.
#[derive(Clone, Debug)]
pub struct Template {
    pub instance: Instance,
    /// The specification of each check, by id; `instance.checks` holds their state.
    pub specs: BTreeMap<CheckId, CheckSpec>,
    /// The task whose life decides; `None` = the whole group.
    pub task: Option<TaskName>,
}

/// Every service of an allocation.
#[must_use]
pub fn templates(job: &Job, alloc: &Alloc, node: &Node) -> Vec<Template> {
    let Some(group) = job.group(&alloc.group) else { return Vec::new() };
    let of_group = group.services.iter().map(|s| (s, s.task.as_ref(), format!("group-{}", group.name)));
    let of_tasks =
        group.tasks.iter().flat_map(|t| t.services.iter().map(move |s| (s, Some(&t.name), t.name.as_str().to_owned())));
    of_group
        .chain(of_tasks)
        .map(|(service, task, owner)| template(job, group, service, task, &owner, alloc, node))
        .collect()
}

/// The instances that belong in the catalog now: the allocation is wanted and the owning task runs.
#[must_use]
pub fn live(job: &Job, alloc: &Alloc, node: &Node) -> Vec<Instance> {
    if alloc.server_terminal() || alloc.client != ClientStatus::Running {
        return Vec::new();
    }
    let up = |t: &Template| match &t.task {
        Some(task) => alloc.tasks.get(task).is_some_and(|s| s.phase == TaskPhase::Running),
        None => true,
    };
    templates(job, alloc, node).into_iter().filter(up).map(|t| t.instance).collect()
}

fn template(
    job: &Job,
    group: &Group,
    service: &Service,
    task: Option<&TaskName>,
    owner: &str,
    alloc: &Alloc,
    node: &Node,
) -> Template {
    let vars = Variables::of(job, group, task.and_then(|t| group.task(t)), alloc, node);
    let name = vars.fill(&service.name);
    let (ip, port) = endpoint(&service.port, service.address_mode, task, alloc, node);
    let address = if service.address.is_empty() { ip } else { vars.fill(&service.address) };
    let id = InstanceId::from(format!("_nomad-task-{}-{owner}-{name}-{}", alloc.id, service.port));
    let tags = if alloc.canary && !service.canary_tags.is_empty() { &service.canary_tags } else { &service.tags };
    let mut meta: BTreeMap<_, _> = service.meta.iter().map(|(k, v)| (vars.fill(k), vars.fill(v))).collect();
    if alloc.canary {
        meta.extend(service.canary_meta.iter().map(|(k, v)| (vars.fill(k), vars.fill(v))));
    }
    meta.insert("external-source".into(), "nomad".into());
    let mut specs = BTreeMap::new();
    let mut checks = BTreeMap::new();
    for (n, spec) in service.checks.iter().enumerate() {
        let check_id = CheckId::from(format!("_nomad-check-{}-{owner}-{name}-{n}", alloc.id));
        checks
            .insert(check_id.clone(), check(&check_id, spec, service, &name, &address, port, task, alloc, node, &vars));
        specs.insert(check_id, spec.clone());
    }
    let instance = Instance {
        id,
        service: name.into(),
        node: node.name.as_str().into(),
        address,
        port,
        tags: tags.iter().map(|t| Arc::from(vars.fill(t))).collect(),
        meta,
        tagged_addresses: BTreeMap::new(),
        weights: Weights { passing: service.weight_passing.max(1), warning: service.weight_warning.max(1) },
        enable_tag_override: service.enable_tag_override,
        kind: String::new(),
        foreign: Value::Null,
        checks,
        source: Source::Alloc(alloc.id),
        create_index: Index(0),
        modify_index: Index(0),
    };
    Template { instance, specs, task: task.cloned() }
}

/// Where a port label (or a literal port) of an allocation is reached.
fn endpoint(port: &str, mode: AddressMode, task: Option<&TaskName>, alloc: &Alloc, node: &Node) -> (String, u16) {
    match alloc.resources.port(port, task) {
        Some(p) if mode == AddressMode::Alloc || mode == AddressMode::Driver => (p.host_ip.clone(), p.to),
        Some(p) => (p.host_ip.clone(), p.value),
        None => (node.address.clone(), port.parse().unwrap_or(0)),
    }
}

#[allow(clippy::too_many_arguments)] // One call site; a struct would only rename the locals.
fn check(
    id: &CheckId,
    spec: &CheckSpec,
    service: &Service,
    service_name: &str,
    address: &str,
    port: u16,
    task: Option<&TaskName>,
    alloc: &Alloc,
    node: &Node,
    vars: &Variables,
) -> Check {
    let (host, port) = if spec.port.is_empty() {
        (address.to_owned(), port)
    } else {
        let mode = spec.address_mode.unwrap_or(service.address_mode);
        endpoint(&vars.fill(&spec.port), mode, task, alloc, node)
    };
    let probe = fill_probe(&spec.probe, vars);
    let state = alloc.checks.get(id);
    Check {
        id: id.clone(),
        name: if spec.name.is_empty() { format!("service: \"{service_name}\" check") } else { vars.fill(&spec.name) },
        verdict: state.map_or(spec.initial.unwrap_or(Verdict::Critical), |s| s.verdict),
        notes: String::new(),
        output: state.map_or_else(String::new, |s| s.output.clone()),
        kind: probe.kind().into(),
        definition: Some(CheckDefinition {
            target: probe.target(&host, port),
            probe,
            interval: spec.interval,
            timeout: spec.timeout,
            success_before_passing: spec.success_before_passing,
            failures_before_warning: spec.failures_before_warning,
            failures_before_critical: spec.failures_before_critical,
            deregister_critical_after: None,
            disable_redirects: false,
        }),
        foreign_definition: Value::Null,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

fn fill_probe(probe: &Probe, vars: &Variables) -> Probe {
    match probe {
        Probe::Http { method, scheme, path, headers, body, tls_skip_verify } => Probe::Http {
            method: method.clone(),
            scheme: scheme.clone(),
            path: vars.fill(path),
            headers: headers.iter().map(|(k, v)| (k.clone(), v.iter().map(|v| vars.fill(v)).collect())).collect(),
            body: vars.fill(body),
            tls_skip_verify: *tls_skip_verify,
        },
        Probe::Script { command, args } => {
            Probe::Script { command: vars.fill(command), args: args.iter().map(|a| vars.fill(a)).collect() }
        }
        other => other.clone(),
    }
}

impl Probe {
    /// The catalog's word for it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Tcp => "tcp",
            Self::Script { .. } => "script",
            Self::Grpc { .. } => "grpc",
            Self::Ttl { .. } => "ttl",
        }
    }

    /// What it connects to.
    #[must_use]
    pub fn target(&self, host: &str, port: u16) -> String {
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        match self {
            Self::Http { scheme, path, .. } => {
                let slash = if path.starts_with('/') { "" } else { "/" };
                format!("{scheme}://{host}:{port}{slash}{path}")
            }
            Self::Tcp | Self::Grpc { .. } => format!("{host}:{port}"),
            Self::Script { .. } | Self::Ttl { .. } => String::new(),
        }
    }
}
