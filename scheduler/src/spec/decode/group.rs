//! Task groups.

use model::{
    Group, JobKind,
    job::{Disconnect, EphemeralDisk, RestartPolicy, Scaling, VolumeRequest},
};

use super::{network, policy, refuse_twins, service, task};
use crate::spec::tree::{Block, Error};

pub fn groups(job: &Block, kind: JobKind) -> Result<Vec<Group>, Error> {
    let blocks = job.blocks("group");
    refuse_twins(blocks, "group")?;
    blocks.iter().map(|b| group(b, job, kind)).collect()
}

fn group(b: &Block, job: &Block, kind: JobKind) -> Result<Group, Error> {
    let scaling = b.one("scaling").map(scaling).transpose()?;
    let count = b.number("count")?.unwrap_or_else(|| scaling.as_ref().map_or(1, |s| s.min.max(1)));
    let restart = policy::restart(b.one("restart"), job.one("restart"), &RestartPolicy::of(kind))?;
    let volumes: Result<_, Error> = b.blocks("volume").iter().map(|v| Ok((v.label().to_owned(), volume(v)))).collect();
    refuse_twins(b.blocks("volume"), "volume")?;
    Ok(Group {
        name: b.label().into(),
        count,
        constraints: policy::constraints(b)?,
        affinities: policy::affinities(b)?,
        spreads: policy::spreads(b)?,
        tasks: task::tasks(b, &restart)?,
        networks: b.blocks("network").iter().map(network::network).collect::<Result<_, _>>()?,
        services: service::services(b, None)?,
        volumes: volumes?,
        restart,
        reschedule: policy::reschedule(b.one("reschedule"), job.one("reschedule"), kind)?,
        update: policy::update(b.one("update"), job.one("update"), kind)?,
        migrate: policy::migrate(b.one("migrate"), job.one("migrate"))?,
        disk: disk(b)?,
        meta: b.map("meta"),
        shutdown_delay: b.duration("shutdown_delay").unwrap_or_default(),
        scaling,
        disconnect: disconnect(b),
    })
}

fn scaling(b: &Block) -> Result<Scaling, Error> {
    Ok(Scaling {
        min: b.number("min")?.unwrap_or(0),
        // The API writes 0 where no maximum is set.
        max: b.number("max")?.filter(|m| *m > 0),
        enabled: b.bool("enabled").unwrap_or(true),
    })
}

fn volume(b: &Block) -> VolumeRequest {
    VolumeRequest { kind: b.text("type"), source: b.text("source"), read_only: b.flag("read_only") }
}

fn disk(b: &Block) -> Result<EphemeralDisk, Error> {
    let default = EphemeralDisk::default();
    let Some(d) = b.one("ephemeral_disk") else { return Ok(default) };
    Ok(EphemeralDisk {
        size_mb: d.number("size")?.unwrap_or(default.size_mb),
        sticky: d.flag("sticky") || d.flag("migrate"),
        migrate: d.flag("migrate"),
    })
}

/// The `disconnect` block, or the three attributes it replaced.
fn disconnect(b: &Block) -> Option<Disconnect> {
    const LEGACY: [&str; 3] = ["max_client_disconnect", "stop_after_client_disconnect", "prevent_reschedule_on_lost"];
    let own = b.one("disconnect");
    let time = |b: &Block, name: &str| b.duration(name).filter(|d| !d.is_zero());
    let legacy = LEGACY.iter().any(|n| time(b, n).is_some() || b.flag(n));
    if own.is_none() && !legacy {
        return None;
    }
    Some(Disconnect {
        lost_after: own.and_then(|d| time(d, "lost_after")).or(time(b, LEGACY[0])),
        stop_on_client_after: own.and_then(|d| time(d, "stop_on_client_after")).or(time(b, LEGACY[1])),
        replace: own.and_then(|d| d.bool("replace")).unwrap_or(!b.flag(LEGACY[2])),
        reconcile: own.and_then(|d| d.str("reconcile")).unwrap_or("best_score").to_owned(),
    })
}
