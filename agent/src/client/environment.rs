//! The environment of a task and its driver configuration with every `${…}` filled in.

use std::collections::BTreeMap;

use model::{
    driver_config::Value,
    interpolate::{Variables, env_key},
    job::Task,
};

use super::view::View;
use crate::driver::SeenDirs;

/// What a task inherits from the agent: where things are, never what the agent knows (tokens, addresses).
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];

/// Everything `${…}` may name in a task, with the paths as the task sees them.
#[must_use]
pub fn variables(
    view: &View,
    task: &Task,
    seen: &SeenDirs,
    inherit: bool,
    mapped: &BTreeMap<String, u16>,
) -> Variables {
    let mut vars = match view.group() {
        Some(group) => Variables::of(&view.job, group, Some(task), &view.alloc, &view.node),
        None => Variables::default(),
    };
    if inherit {
        for name in INHERITED {
            if let Ok(value) = std::env::var(name) {
                vars.env.entry(name.to_owned()).or_insert(value);
            }
        }
    }
    for (name, value) in
        [("NOMAD_ALLOC_DIR", &seen.alloc), ("NOMAD_TASK_DIR", &seen.local), ("NOMAD_SECRETS_DIR", &seen.secrets)]
    {
        vars.env.insert(name.to_owned(), value.clone());
    }
    // A driver's own port map says where the task listens; the ports on the host keep their names.
    for (label, port) in mapped {
        vars.env.insert(format!("NOMAD_PORT_{}", env_key(label)), port.to_string());
    }
    // The `env` block may name the directories, which the model could not know.
    let again: BTreeMap<_, _> =
        task.env.keys().filter_map(|k| Some((k.clone(), vars.fill(vars.env.get(k)?)))).collect();
    vars.env.extend(again);
    vars
}

/// The driver's configuration as the driver gets it.
#[must_use]
pub fn config(task: &Task, vars: &Variables) -> Value {
    task.config.map_strings(&mut |s| vars.fill(s))
}
