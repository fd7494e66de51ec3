//! Task groups.

use model::{
    Group,
    job::{Disconnect, EphemeralDisk, Scaling, VolumeRequest},
};

use super::{network, policy, service, task};
use crate::spec::tree::{Block, Data};

pub fn group(g: &Group) -> Block {
    let mut b = Block { label: Some(g.name.to_string()), ..Block::default() };
    b.int_field("count", g.count);
    b.set_blocks("constraint", policy::constraints(&g.constraints));
    b.set_blocks("affinity", policy::affinities(&g.affinities));
    b.set_blocks("spread", policy::spreads(&g.spreads));
    b.set("task", Data::Blocks(g.tasks.iter().map(|t| task::task(t, &g.restart)).collect()));
    b.set_blocks("network", g.networks.iter().map(network::network).collect());
    b.set_blocks("service", g.services.iter().map(service::service).collect());
    b.set_blocks("volume", g.volumes.iter().map(|(name, v)| volume(name, v)).collect());
    b.set_blocks("restart", vec![policy::restart(&g.restart)]);
    b.set_blocks("reschedule", vec![policy::reschedule(&g.reschedule)]);
    b.set_blocks("update", g.update.iter().map(policy::update).collect());
    b.set_blocks("migrate", vec![policy::migrate(&g.migrate)]);
    b.set_blocks("ephemeral_disk", vec![disk(&g.disk)]);
    b.set("meta", Data::Map(g.meta.clone()));
    b.time_field("shutdown_delay", g.shutdown_delay);
    b.set_blocks("scaling", g.scaling.iter().map(scaling).collect());
    b.set_blocks("disconnect", g.disconnect.iter().map(disconnect).collect());
    b
}

fn volume(name: &str, v: &VolumeRequest) -> Block {
    let mut b = Block { label: Some(name.to_owned()), ..Block::default() };
    b.text_field("type", &v.kind);
    b.text_field("source", &v.source);
    b.bool_field("read_only", v.read_only);
    b
}

fn disk(d: &EphemeralDisk) -> Block {
    let mut b = Block::default();
    b.big_field("size", d.size_mb);
    b.bool_field("sticky", d.sticky);
    b.bool_field("migrate", d.migrate);
    b
}

fn scaling(s: &Scaling) -> Block {
    let mut b = Block::default();
    b.int_field("min", s.min);
    if let Some(max) = s.max {
        b.int_field("max", max);
    }
    b.bool_field("enabled", s.enabled);
    b
}

fn disconnect(d: &Disconnect) -> Block {
    let mut b = Block::default();
    if let Some(t) = d.lost_after {
        b.time_field("lost_after", t);
    }
    if let Some(t) = d.stop_on_client_after {
        b.time_field("stop_on_client_after", t);
    }
    b.bool_field("replace", d.replace);
    b.text_field("reconcile", &d.reconcile);
    b
}
