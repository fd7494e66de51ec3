//! Housekeeping: directories of ended allocations are kept for a while, for their logs, and then removed.

use std::sync::Arc;

use model::{AllocId, Timestamp};
use nix::sys::statvfs::statvfs;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{config::GcConfig, follow::Runners};

/// Which ended allocations lose their directories. Pure. `ended`: with the time of their last change.
#[must_use]
pub fn choose(mut ended: Vec<(Timestamp, AllocId)>, gc: &GcConfig, disk_used_percent: u8) -> Vec<AllocId> {
    ended.sort_unstable();
    let keep = if disk_used_percent >= gc.disk_usage_threshold { 0 } else { gc.max_allocs };
    let go = ended.len().saturating_sub(keep);
    ended.into_iter().take(go).map(|(_, id)| id).collect()
}

/// Collect now and then until cancelled.
pub async fn run(runners: Arc<Runners>, cancel: CancellationToken) {
    let gc = runners.services.config.gc.clone();
    let mut timer = tokio::time::interval(gc.interval.max(std::time::Duration::from_secs(1)));
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer.tick().await;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = timer.tick() => {}
        }
        for id in choose(ended(&runners), &gc, used_percent(&runners)) {
            info!(alloc = %id, "removing the directory of an ended allocation");
            runners.forget(id);
            runners.clear(id).await;
        }
    }
}

/// Collect every ended allocation now; how many there were.
pub async fn all(runners: &Runners) -> usize {
    let ended = ended(runners);
    let count = ended.len();
    for (_, id) in ended {
        runners.forget(id);
        runners.clear(id).await;
    }
    count
}

/// Ended allocations that still have a directory.
fn ended(runners: &Runners) -> Vec<(Timestamp, AllocId)> {
    let state = runners.services.replica.snapshot();
    state
        .allocs_on_node(runners.services.node)
        .filter(|a| a.client.terminal() && runners.over(a.id))
        .filter(|a| runners.services.config.data_dir.join("alloc").join(a.id.to_string()).exists())
        .map(|a| (a.modified_at, a.id))
        .collect()
}

fn used_percent(runners: &Runners) -> u8 {
    let Ok(s) = statvfs(&runners.services.config.data_dir) else { return 0 };
    let (all, free) = (s.blocks().max(1), s.blocks_available());
    u8::try_from((all - free.min(all)) * 100 / all).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let id = |n| AllocId(uuid::Uuid::from_u128(n));
        let ended = vec![(Timestamp(3), id(3)), (Timestamp(1), id(1)), (Timestamp(2), id(2))];
        let gc = GcConfig { max_allocs: 2, ..GcConfig::default() };
        assert_eq!(choose(ended.clone(), &gc, 10), [id(1)]);
        assert_eq!(choose(ended, &gc, 95), [id(1), id(2), id(3)]);
        assert!(choose(Vec::new(), &gc, 95).is_empty());
    }
}
