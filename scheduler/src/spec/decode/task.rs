//! Tasks.

use std::{collections::BTreeMap, time::Duration};

use model::{
    Task, TaskName,
    driver_config::Value,
    job::{Lifecycle, Logs, RestartPolicy, VolumeMount},
    resource::TaskResources,
};

use super::{network, policy, refuse_twins, service};
use crate::spec::{
    tree::{Block, Error},
    words::word,
};

pub fn tasks(group: &Block, restart: &RestartPolicy) -> Result<Vec<Task>, Error> {
    let blocks = group.blocks("task");
    refuse_twins(blocks, "task")?;
    blocks.iter().map(|b| task(b, restart)).collect()
}

fn task(b: &Block, group_restart: &RestartPolicy) -> Result<Task, Error> {
    let name = TaskName::from(b.label());
    let restart = b.one("restart").map(|r| policy::restart(Some(r), None, group_restart)).transpose()?;
    Ok(Task {
        driver: b.text("driver"),
        user: b.text("user"),
        config: b.any("config").filter(|c| **c != Value::Null).cloned().unwrap_or(Value::Map(BTreeMap::new())),
        env: b.map("env"),
        meta: b.map("meta"),
        constraints: policy::constraints(b)?,
        affinities: policy::affinities(b)?,
        resources: b.one("resources").map(resources).transpose()?.unwrap_or_default(),
        // A policy equal to the group's is no override: the API repeats the group's in every task.
        restart: restart.filter(|r| r != group_restart),
        services: service::services(b, Some(&name))?,
        logs: logs(b)?,
        lifecycle: b.one("lifecycle").map(lifecycle).transpose()?,
        leader: b.flag("leader"),
        kill_timeout: b.duration("kill_timeout").unwrap_or(Duration::from_secs(5)),
        kill_signal: b.text("kill_signal"),
        shutdown_delay: b.duration("shutdown_delay").unwrap_or_default(),
        volume_mounts: b.blocks("volume_mount").iter().map(volume_mount).collect(),
        name,
    })
}

fn resources(b: &Block) -> Result<TaskResources, Error> {
    let d = TaskResources::default();
    let cores = b.number("cores")?.unwrap_or(0);
    if b.blocks("network").len() > 1 {
        return Err(Error::new(&b.blocks("network")[1].place, "a task has one network; put all ports into the first"));
    }
    Ok(TaskResources {
        cpu_mhz: b.number("cpu")?.unwrap_or(if cores > 0 { 0 } else { d.cpu_mhz }),
        cores,
        memory_mb: b.number("memory")?.unwrap_or(d.memory_mb),
        memory_max_mb: b.int("memory_max").filter(|m| *m != 0),
        network: b.one("network").map(network::network).transpose()?,
        devices: b.blocks("device").iter().map(|d| d.label().to_owned()).collect(),
    })
}

fn logs(b: &Block) -> Result<Logs, Error> {
    let d = Logs::default();
    let Some(l) = b.one("logs") else { return Ok(d) };
    Ok(Logs {
        max_files: l.number("max_files")?.unwrap_or(d.max_files),
        max_file_size_mb: l.number("max_file_size")?.unwrap_or(d.max_file_size_mb),
        disabled: l.bool("disabled").unwrap_or(l.bool("enabled") == Some(false)),
    })
}

fn lifecycle(b: &Block) -> Result<Lifecycle, Error> {
    let hook = word(b, "hook")?
        .ok_or_else(|| b.fail("hook", "\"lifecycle\" needs a \"hook\": \"prestart\", \"poststart\" or \"poststop\""))?;
    Ok(Lifecycle { hook, sidecar: b.flag("sidecar") })
}

fn volume_mount(b: &Block) -> VolumeMount {
    VolumeMount { volume: b.text("volume"), destination: b.text("destination"), read_only: b.flag("read_only") }
}
