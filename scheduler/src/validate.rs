//! Whether a job makes sense: every rule a job must keep before it may be registered, and what its author should know.
//!
//! Works on the job alone. What depends on the cluster (ports taken, no such datacenter) belongs to admission and
//! placement; what a driver finds in values only known at run time belongs to the driver.

mod constraint;
mod driver;
mod group;
mod inert;
mod name;
mod policy;
mod service;
mod task;

use model::{Job, JobKind};

/// The most allocations one job may ask for.
pub const MAX_COUNT: u64 = 50_000;

/// Check a job.
///
/// # Errors
/// Every broken rule, each as one sentence that starts with the place it is about. When no rule is broken, the answer
/// is what the author should know all the same.
pub fn validate(job: &Job) -> Result<Vec<String>, Vec<String>> {
    let mut report = Report::default();
    identity(job, &mut report);
    shape(job, &mut report);
    for (i, g) in job.groups.iter().enumerate() {
        if job.groups[..i].iter().any(|o| o.name == g.name) {
            report.error("", format!("group {:?} is defined twice; names must be unique", g.name.as_str()));
        }
        group::group(job, g, &mut report);
    }
    inert::blocks(job, &mut report);
    if report.errors.is_empty() { Ok(report.warnings) } else { Err(report.errors) }
}

/// What was found so far.
#[derive(Default)]
struct Report {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Report {
    fn error(&mut self, place: &str, what: impl AsRef<str>) {
        self.errors.push(at(place, what.as_ref()));
    }

    fn warn(&mut self, place: &str, what: impl AsRef<str>) {
        self.warnings.push(at(place, what.as_ref()));
    }

    /// An error unless the rule holds.
    fn rule(&mut self, holds: bool, place: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.error(place, what());
        }
    }
}

fn at(place: &str, what: &str) -> String {
    if place.is_empty() { what.to_owned() } else { format!("{place}: {what}") }
}

fn identity(job: &Job, report: &mut Report) {
    for (what, text) in [("ID", job.id.as_str()), ("name", job.name.as_str())] {
        if let Some(wrong) = name::job(text) {
            report.error("", format!("the job {what} {text:?} {wrong}"));
        }
    }
    for (what, text) in [("namespace", job.namespace.as_str()), ("node_pool", job.node_pool.as_str())] {
        if let Some(wrong) = name::simple(text, 128) {
            report.error("", format!("\"{what}\" {text:?} {wrong}"));
        }
    }
    if let Some(wrong) = name::simple(&job.region, 128) {
        report.error("", format!("\"region\" {:?} {wrong}", job.region));
    }
    report.rule(!job.datacenters.is_empty(), "", || "the job needs at least one datacenter; \"*\" means any".into());
    report.rule(job.datacenters.iter().all(|d| !d.trim().is_empty()), "", || "a datacenter's name is empty".into());
    report.rule((1..=100).contains(&job.priority), "", || {
        format!("\"priority\" must be between 1 and 100, not {}", job.priority)
    });
    name::keys(&job.meta, "meta", "", report);
}

fn shape(job: &Job, report: &mut Report) {
    report.rule(!job.groups.is_empty(), "", || "the job needs at least one group with a task".into());
    let total: u64 = job.groups.iter().map(|g| u64::from(g.count)).sum();
    report.rule(total <= MAX_COUNT, "", || {
        format!("the job asks for {total} allocations; the most is {MAX_COUNT} over all groups")
    });
    constraint::all(&job.constraints, &job.affinities, &job.spreads, "", report);
    if job.kind.per_node() {
        report.rule(job.affinities.is_empty(), "", || per_node(job.kind, "affinity"));
        report.rule(job.spreads.is_empty(), "", || per_node(job.kind, "spread"));
    }
    if job.periodic.is_some() {
        report.error("", "periodic jobs are not started yet; run the job from a timer with `trine job run`");
    }
    if job.parameterized.is_some() {
        report.error("", "parameterized jobs cannot be dispatched yet; register one job per set of inputs");
    }
}

/// Blocks that mean nothing where every node gets one.
fn per_node(kind: JobKind, block: &str) -> String {
    format!("a {kind} job runs on every node, so it cannot have \"{block}\"; use \"constraint\"")
}

#[cfg(test)]
mod tests;
