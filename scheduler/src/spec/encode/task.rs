//! Tasks.

use model::{
    Task,
    job::{Lifecycle, Logs, RestartPolicy, VolumeMount},
    resource::TaskResources,
};

use super::{network, policy, service};
use crate::spec::tree::{Block, Data};

pub fn task(t: &Task, group_restart: &RestartPolicy) -> Block {
    let mut b = Block { label: Some(t.name.to_string()), ..Block::default() };
    b.text_field("driver", &t.driver);
    b.text_field("user", &t.user);
    b.set("config", Data::Any(t.config.clone()));
    b.set("env", Data::Map(t.env.clone()));
    b.set("meta", Data::Map(t.meta.clone()));
    b.set_blocks("constraint", policy::constraints(&t.constraints));
    b.set_blocks("affinity", policy::affinities(&t.affinities));
    b.set_blocks("resources", vec![resources(&t.resources)]);
    b.set_blocks("restart", vec![policy::restart(t.restart.as_ref().unwrap_or(group_restart))]);
    b.set_blocks("service", t.services.iter().map(service::service).collect());
    b.set_blocks("logs", vec![logs(&t.logs)]);
    b.set_blocks("lifecycle", t.lifecycle.iter().map(lifecycle).collect());
    b.bool_field("leader", t.leader);
    b.time_field("kill_timeout", t.kill_timeout);
    b.text_field("kill_signal", &t.kill_signal);
    b.time_field("shutdown_delay", t.shutdown_delay);
    b.set_blocks("volume_mount", t.volume_mounts.iter().map(volume_mount).collect());
    b
}

fn resources(r: &TaskResources) -> Block {
    let mut b = Block::default();
    b.big_field("cpu", r.cpu_mhz);
    b.int_field("cores", r.cores);
    b.big_field("memory", r.memory_mb);
    b.int_field("memory_max", r.memory_max_mb.unwrap_or(0));
    b.set_blocks("network", r.network.iter().map(network::network).collect());
    let device = |name: &String| Block { label: Some(name.clone()), ..Block::default() };
    b.set_blocks("device", r.devices.iter().map(device).collect());
    b
}

fn logs(l: &Logs) -> Block {
    let mut b = Block::default();
    b.int_field("max_files", l.max_files);
    b.int_field("max_file_size", l.max_file_size_mb);
    b.bool_field("disabled", l.disabled);
    b.bool_field("enabled", !l.disabled);
    b
}

fn lifecycle(l: &Lifecycle) -> Block {
    let mut b = Block::default();
    b.word_field("hook", l.hook);
    b.bool_field("sidecar", l.sidecar);
    b
}

fn volume_mount(m: &VolumeMount) -> Block {
    let mut b = Block::default();
    b.text_field("volume", &m.volume);
    b.text_field("destination", &m.destination);
    b.bool_field("read_only", m.read_only);
    b.text_field("propagation_mode", "private");
    b
}
