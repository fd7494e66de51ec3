//! Runtime variables: the `NOMAD_*` environment of a task and the `${…}` references that name it.
//!
//! Pure, because the catalog derives service names and tags from it inside `apply`. Paths and secrets are added by
//! the client, which alone knows them. Unknown references stay as text, as the model leaves them.

use std::collections::BTreeMap;

use crate::{
    alloc::Alloc,
    id::TaskName,
    job::{Group, Job, Task},
    node::Node,
};

/// Everything `${…}` may name for one task (or, with `task` absent, for the group).
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// The task's environment, `NOMAD_*` and `env` block together.
    pub env: BTreeMap<String, String>,
    /// `attr.…`, `meta.…`, `node.…`.
    pub node: BTreeMap<String, String>,
}

impl Variables {
    /// Build the variables of a task; the `env` block is filled in last and may use the others.
    #[must_use]
    pub fn of(job: &Job, group: &Group, task: Option<&Task>, alloc: &Alloc, node: &Node) -> Self {
        let mut vars = Self { env: BTreeMap::new(), node: node_variables(node) };
        vars.identity(job, group, task, alloc, node);
        vars.meta(job, group, task);
        vars.ports(task.map(|t| &t.name), alloc);
        if let Some(t) = task {
            let filled: Vec<_> = t.env.iter().map(|(k, v)| (vars.fill(k), vars.fill(v))).collect();
            vars.env.extend(filled);
        }
        vars
    }

    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.env.insert(key.to_owned(), value.into());
    }

    fn identity(&mut self, job: &Job, group: &Group, task: Option<&Task>, alloc: &Alloc, node: &Node) {
        self.set("NOMAD_ALLOC_ID", alloc.id.to_string());
        self.set("NOMAD_SHORT_ALLOC_ID", alloc.id.short());
        self.set("NOMAD_ALLOC_NAME", alloc.name.clone());
        self.set("NOMAD_ALLOC_INDEX", alloc.slot.to_string());
        self.set("NOMAD_GROUP_NAME", group.name.as_str());
        self.set("NOMAD_JOB_ID", job.id.as_str());
        self.set("NOMAD_JOB_NAME", job.name.clone());
        self.set("NOMAD_DC", node.datacenter.clone());
        self.set("NOMAD_REGION", job.region.clone());
        self.set("NOMAD_NAMESPACE", job.namespace.as_str());
        if let Some((parent, _)) =
            job.id.as_str().split_once("/periodic-").or_else(|| job.id.as_str().split_once("/dispatch-"))
        {
            self.set("NOMAD_JOB_PARENT_ID", parent);
        }
        let Some(task) = task else { return };
        self.set("NOMAD_TASK_NAME", task.name.as_str());
        if let Some(given) = alloc.resources.tasks.get(&task.name) {
            self.set("NOMAD_CPU_LIMIT", given.cpu_mhz.to_string());
            self.set("NOMAD_MEMORY_LIMIT", given.memory_mb.to_string());
            if given.memory_max_mb > 0 {
                self.set("NOMAD_MEMORY_MAX_LIMIT", given.memory_max_mb.to_string());
            }
        }
    }

    fn meta(&mut self, job: &Job, group: &Group, task: Option<&Task>) {
        let task_meta = task.map(|t| &t.meta);
        for (k, v) in job.meta.iter().chain(&group.meta).chain(task_meta.into_iter().flatten()) {
            let key = env_key(k);
            let value = self.fill(v);
            self.set(&format!("NOMAD_META_{}", key.to_uppercase()), value.clone());
            self.set(&format!("NOMAD_META_{key}"), value);
        }
    }

    fn ports(&mut self, task: Option<&TaskName>, alloc: &Alloc) {
        for p in &alloc.resources.ports {
            let label = env_key(&p.label);
            let host_addr = format!("{}:{}", p.host_ip, p.value);
            // A task's own legacy ports, and ports of the group, are plain; other tasks' carry the task's name.
            let plain = p.task.is_none() || p.task.as_ref() == task;
            if plain {
                self.set(&format!("NOMAD_IP_{label}"), p.host_ip.clone());
                self.set(&format!("NOMAD_PORT_{label}"), p.to.to_string());
                self.set(&format!("NOMAD_ADDR_{label}"), host_addr.clone());
                self.set(&format!("NOMAD_HOST_IP_{label}"), p.host_ip.clone());
                self.set(&format!("NOMAD_HOST_PORT_{label}"), p.value.to_string());
                self.set(&format!("NOMAD_HOST_ADDR_{label}"), host_addr.clone());
                self.set(&format!("NOMAD_ALLOC_PORT_{label}"), p.to.to_string());
            }
            if let Some(owner) = &p.task {
                let owner = env_key(owner.as_str());
                self.set(&format!("NOMAD_IP_{owner}_{label}"), p.host_ip.clone());
                self.set(&format!("NOMAD_PORT_{owner}_{label}"), p.value.to_string());
                self.set(&format!("NOMAD_ADDR_{owner}_{label}"), host_addr);
            }
        }
    }

    /// The value a reference names, if any.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = name.trim();
        if let Some(key) = name.strip_prefix("env[\"").and_then(|n| n.strip_suffix("\"]")) {
            return self.env.get(key).map(String::as_str);
        }
        self.env
            .get(name)
            .or_else(|| self.node.get(name))
            .or_else(|| name.strip_prefix("env.").and_then(|k| self.env.get(k)))
            .map(String::as_str)
    }

    /// `text` with every known `${…}` replaced.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        fill_with(text, |name| self.get(name))
    }
}

/// `text` with every `${name}` that `lookup` knows replaced; the others stay.
pub fn fill_with<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    if !text.contains("${") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = from.find('}') else {
            out.push_str(from);
            return out;
        };
        match lookup(&from[2..end]) {
            Some(value) => out.push_str(value),
            None => out.push_str(&from[..=end]),
        }
        rest = &from[end + 1..];
    }
    out.push_str(rest);
    out
}

/// What `${attr.…}`, `${meta.…}` and `${node.…}` name on a node; also the left side of constraints.
#[must_use]
pub fn node_variables(node: &Node) -> BTreeMap<String, String> {
    let mut vars: BTreeMap<String, String> = BTreeMap::new();
    vars.insert("node.unique.id".into(), node.id.to_string());
    vars.insert("node.unique.name".into(), node.name.clone());
    vars.insert("node.datacenter".into(), node.datacenter.clone());
    vars.insert("node.region".into(), "global".into());
    vars.insert("node.class".into(), node.class.clone());
    vars.insert("node.pool".into(), node.pool.clone());
    vars.extend(node.attributes.iter().map(|(k, v)| (format!("attr.{k}"), v.clone())));
    vars.extend(node.meta.iter().map(|(k, v)| (format!("meta.{k}"), v.clone())));
    vars
}

/// A name as it may stand in an environment variable: anything but `[A-Za-z0-9_.]` becomes `_`.
#[must_use]
pub fn env_key(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_references_survive() {
        let vars = Variables { env: BTreeMap::from([("A".into(), "1".into())]), node: BTreeMap::new() };
        assert_eq!(vars.fill("${A}-${B}-${"), "1-${B}-${");
        assert_eq!(vars.fill("${env[\"A\"]} ${ A }"), "1 1");
    }
}
