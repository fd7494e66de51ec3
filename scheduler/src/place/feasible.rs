//! What a node must be and have, whatever runs on it: state, constraints, drivers, volumes, devices.
//!
//! Answers depend on the node and the group only, so one evaluation asks once per node and group.

use model::{
    Eligibility, Group, Job, Node, NodeStatus,
    job::{Constraint, Operator},
};

use super::constraint;

/// Why a node is out of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The key under which refusals are counted: a constraint's text, `missing drivers`, …
    pub filter: String,
    /// The sentence an operator reads.
    pub reason: String,
}

impl Unfit {
    fn new(filter: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { filter: filter.into(), reason: reason.into() }
    }
}

/// Whether the job may look at the node at all: its datacenters and its pool.
pub fn in_reach(job: &Job, node: &Node) -> Result<(), Unfit> {
    if job.node_pool != "all" && node.pool != job.node_pool {
        let reason = format!("is in node pool \"{}\", the job asks for \"{}\"", node.pool, job.node_pool);
        return Err(Unfit::new("node pool", reason));
    }
    if !job.datacenters.iter().any(|g| constraint::glob(g, &node.datacenter)) {
        let reason = format!("is in datacenter \"{}\", the job asks for {:?}", node.datacenter, job.datacenters);
        return Err(Unfit::new("datacenter", reason));
    }
    Ok(())
}

/// Whether the node takes new work.
pub fn open(node: &Node) -> Result<(), Unfit> {
    if node.status != NodeStatus::Ready {
        return Err(Unfit::new("not ready", format!("is {}", node.status.as_str())));
    }
    if node.drain.is_some() {
        return Err(Unfit::new("draining", "is draining"));
    }
    if node.eligibility == Eligibility::Ineligible {
        return Err(Unfit::new("ineligible", "is marked ineligible for scheduling"));
    }
    Ok(())
}

/// Constraints of job, group and tasks.
pub fn constraints<'a>(job: &'a Job, group: &'a Group) -> impl Iterator<Item = &'a Constraint> {
    job.constraints.iter().chain(&group.constraints).chain(group.tasks.iter().flat_map(|t| &t.constraints))
}

/// Whether the node has what the group needs, apart from room.
pub fn suits(job: &Job, group: &Group, node: &Node) -> Result<(), Unfit> {
    for c in constraints(job, group) {
        if !constraint::holds(&c.attribute, c.operator, &c.value, node) {
            let has = match c.operator {
                Operator::IsSet => String::new(),
                _ => constraint::resolve(&c.attribute, node)
                    .map_or(" (the node has no such value)".into(), |v| format!(" (the node has \"{v}\")")),
            };
            let text = constraint::text(c);
            return Err(Unfit::new(text.clone(), format!("constraint {text} does not hold{has}")));
        }
    }
    drivers(group, node)?;
    volumes(group, node)?;
    if let Some(device) = group.tasks.iter().flat_map(|t| &t.resources.devices).next() {
        return Err(Unfit::new("missing devices", format!("has no device \"{device}\"; devices are not supported")));
    }
    Ok(())
}

fn drivers(group: &Group, node: &Node) -> Result<(), Unfit> {
    for task in &group.tasks {
        let name = &task.driver;
        match node.drivers.get(name) {
            Some(d) if d.detected && d.healthy => {}
            Some(d) if d.detected => {
                let why = if d.description.is_empty() { "no reason given" } else { &d.description };
                return Err(Unfit::new("missing drivers", format!("driver \"{name}\" is unhealthy: {why}")));
            }
            Some(d) if !d.description.is_empty() => {
                return Err(Unfit::new("missing drivers", format!("has no driver \"{name}\": {}", d.description)));
            }
            _ => {
                let known: Vec<_> = node.drivers.iter().filter(|(_, d)| d.detected).map(|(k, _)| k.as_str()).collect();
                let reason = format!("has no driver \"{name}\" (it has: {})", known.join(", "));
                return Err(Unfit::new("missing drivers", reason));
            }
        }
    }
    Ok(())
}

fn volumes(group: &Group, node: &Node) -> Result<(), Unfit> {
    const FILTER: &str = "missing compatible host volumes";
    for (label, volume) in &group.volumes {
        if volume.kind != "host" && !volume.kind.is_empty() {
            let reason = format!("volume \"{label}\" is of type \"{}\"; only \"host\" is supported", volume.kind);
            return Err(Unfit::new(FILTER, reason));
        }
        match node.host_volumes.get(&volume.source) {
            None => return Err(Unfit::new(FILTER, format!("has no host volume \"{}\"", volume.source))),
            Some((_, read_only)) if *read_only && !volume.read_only => {
                let reason = format!("host volume \"{}\" is read-only, \"{label}\" asks to write", volume.source);
                return Err(Unfit::new(FILTER, reason));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
