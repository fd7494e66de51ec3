//! What changes between two versions of a job, as a tree of fields and objects: the answer of `job plan`.
//!
//! Works on the same tables as the parser, so a field that can be read can be compared. Only changes are listed.

mod block;

use model::Job;
use serde::Serialize;

use crate::spec::{
    Block, encode,
    schema::{self, GROUP, JOB, TASK},
};

/// What happened to a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum DiffKind {
    Added,
    Deleted,
    Edited,
    #[default]
    None,
}

impl DiffKind {
    fn of<T>(old: Option<T>, new: Option<T>) -> Self {
        match (old, new) {
            (None, Some(_)) => Self::Added,
            (Some(_), None) => Self::Deleted,
            _ => Self::None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FieldDiff {
    #[serde(rename = "Type")]
    pub kind: DiffKind,
    pub name: String,
    pub old: String,
    pub new: String,
    pub annotations: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ObjectDiff {
    #[serde(rename = "Type")]
    pub kind: DiffKind,
    pub name: String,
    pub fields: Vec<FieldDiff>,
    pub objects: Vec<Self>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskDiff {
    #[serde(rename = "Type")]
    pub kind: DiffKind,
    pub name: String,
    pub fields: Vec<FieldDiff>,
    pub objects: Vec<ObjectDiff>,
    pub annotations: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupDiff {
    #[serde(rename = "Type")]
    pub kind: DiffKind,
    pub name: String,
    pub fields: Vec<FieldDiff>,
    pub objects: Vec<ObjectDiff>,
    pub tasks: Vec<TaskDiff>,
    /// Counts per kind of update; filled in by the dry run.
    pub updates: Option<std::collections::BTreeMap<String, u64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobDiff {
    #[serde(rename = "Type")]
    pub kind: DiffKind,
    #[serde(rename = "ID")]
    pub id: String,
    pub fields: Vec<FieldDiff>,
    pub objects: Vec<ObjectDiff>,
    pub task_groups: Vec<GroupDiff>,
}

/// Compare what is registered, if anything, with what would be.
#[must_use]
pub fn job_diff(old: Option<&Job>, new: &Job) -> JobDiff {
    let (old, new) = (old.map(encode::job), encode::job(new));
    let parts = block::parts(&JOB, old.as_ref(), Some(&new));
    let groups = block::pairs(blocks(old.as_ref(), "group"), new.blocks("group"));
    let groups: Vec<_> = groups.into_iter().map(|(o, n)| group(o, n)).filter(|g| g.kind != DiffKind::None).collect();
    let kind = kind(old.as_ref(), Some(&new), parts.is_empty() && groups.is_empty());
    JobDiff { kind, id: new.label().to_owned(), fields: parts.fields, objects: parts.objects, task_groups: groups }
}

fn blocks<'a>(holder: Option<&'a Block>, name: &str) -> &'a [Block] {
    holder.map_or(&[], |b| b.blocks(name))
}

fn kind(old: Option<&Block>, new: Option<&Block>, same: bool) -> DiffKind {
    match DiffKind::of(old, new) {
        DiffKind::None if !same => DiffKind::Edited,
        other => other,
    }
}

fn label(old: Option<&Block>, new: Option<&Block>) -> String {
    new.or(old).map(|b| b.label().to_owned()).unwrap_or_default()
}

fn group(old: Option<&Block>, new: Option<&Block>) -> GroupDiff {
    let mut parts = block::parts(&GROUP, old, new);
    for f in parts.fields.iter_mut().filter(|f| f.name == "Count") {
        let (before, after): (u32, u32) = (f.old.parse().unwrap_or(0), f.new.parse().unwrap_or(0));
        f.annotations.push(if before < after { "forces create" } else { "forces destroy" });
    }
    let tasks = block::pairs(blocks(old, "task"), blocks(new, "task"));
    let tasks: Vec<_> = tasks.into_iter().map(|(o, n)| task(o, n)).filter(|t| t.kind != DiffKind::None).collect();
    GroupDiff {
        kind: kind(old, new, parts.is_empty() && tasks.is_empty()),
        name: label(old, new),
        fields: parts.fields,
        objects: parts.objects,
        tasks,
        updates: None,
    }
}

fn task(old: Option<&Block>, new: Option<&Block>) -> TaskDiff {
    let parts = block::parts(&TASK, old, new);
    let kind = kind(old, new, parts.is_empty());
    let annotation = match kind {
        DiffKind::Added => Some("forces create"),
        DiffKind::Deleted => Some("forces destroy"),
        DiffKind::Edited if parts.in_place() => Some("forces in-place update"),
        DiffKind::Edited => Some("forces create/destroy update"),
        DiffKind::None => None,
    };
    let annotations = annotation.into_iter().collect();
    TaskDiff { kind, name: label(old, new), fields: parts.fields, objects: parts.objects, annotations }
}

impl block::Parts {
    /// Whether a running task can take the change without being replaced.
    fn in_place(&self) -> bool {
        const FIELDS: [&str; 3] = ["KillTimeout", "KillSignal", "ShutdownDelay"];
        const OBJECTS: [&str; 5] = ["Constraint", "Affinity", "Service", "RestartPolicy", "LogConfig"];
        self.fields.iter().all(|f| FIELDS.contains(&f.name.as_str()))
            && self.objects.iter().all(|o| OBJECTS.contains(&o.name.as_str()))
    }
}

/// How an object is called: the API's plural becomes one.
fn object_name(api: &str) -> &str {
    match api {
        "Affinities" => "Affinity",
        "Identities" => "Identity",
        "ScalingPolicies" => "ScalingPolicy",
        "ReservedPorts" => "Static Port",
        "DynamicPorts" => "Dynamic Port",
        "ParameterizedJob" => "Parameterized",
        "SpreadTarget" | "DNS" | "Resources" => api,
        _ => api.strip_suffix('s').unwrap_or(api),
    }
}

/// Fields that are compared elsewhere, or that the state writes.
fn skipped(schema: &schema::Schema, spec: &schema::FieldSpec) -> bool {
    let state = spec.hcl.starts_with('@') && schema.name == "job";
    let tree = matches!((schema.name, spec.hcl), ("job", "group") | ("group", "task"));
    // Said once by "Disabled".
    let twice = (schema.name, spec.hcl) == ("logs", "enabled");
    spec.api.is_empty() || state || tree || twice
}

#[cfg(test)]
mod tests;
