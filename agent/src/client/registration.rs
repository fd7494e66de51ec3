//! This machine in the state: registered at the start, and again when it changed or was given up for dead.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use model::{Command, Index, Node, NodeStatus, ProposeError, Topic};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Error, clock, fingerprint, fingerprint::ports::Observer, shared::Services};

/// How often the host is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Register, repeating until there is a leader; the index from which the local state is complete.
pub async fn register(services: &Services, cancel: &CancellationToken) -> Result<Index, Error> {
    let mut pause = FIRST_PAUSE;
    let mut node = fingerprint::node(services.node, &services.config, &services.drivers).await;
    node.resources.ports_in_use = Observer::default().look(&ours(services));
    loop {
        let command = Command::NodeRegister { node: Box::new(node.clone()), at: clock::now() };
        match services.replica.propose(command).await {
            Ok(applied) => {
                info!(node = %services.node, name = %node.name, address = %node.address, "node registered");
                return Ok(applied.index);
            }
            Err(ProposeError::Rejected(e)) => return Err(Error::Register(e.to_string())),
            Err(ProposeError::Stopped(e)) => return Err(Error::Register(e)),
            Err(e) => debug!(error = %e, "registration is repeated"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = cancel.cancelled() => return Err(Error::Register("the agent is leaving".into())),
        }
    }
}

/// Ports of this agent and of the allocations it runs.
fn ours(services: &Services) -> BTreeSet<u16> {
    let state = services.replica.snapshot();
    let allocs = state.allocs_on_node(services.node).filter(|a| a.holds_resources());
    let theirs = allocs.flat_map(|a| a.resources.ports.iter().map(|p| p.value).collect::<Vec<_>>());
    theirs.chain(services.config.own_ports.iter().map(|(p, _)| *p)).collect()
}

/// Keep the registration true until cancelled.
pub async fn keep(services: Arc<Services>, cancel: CancellationToken) {
    let mut observer = Observer::default();
    let mut timer = tokio::time::interval(LOOK_EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut bell = services.replica.waiters().subscribe(&[Topic::Node(services.node)]);
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = timer.tick() => {}
            // Somebody changed the node: look whether it was given up.
            () = bell.wait() => {
                let state = services.replica.snapshot();
                if state.node(services.node).is_some_and(|n| n.status == NodeStatus::Ready) {
                    continue;
                }
            }
        }
        let mut now = fingerprint::node(services.node, &services.config, &services.drivers).await;
        now.resources.ports_in_use = observer.look(&ours(&services));
        let state = services.replica.snapshot();
        let known = state.node(services.node);
        if known.is_some_and(|k| same(k, &now)) {
            continue;
        }
        if let Some(k) = known {
            // Free space moves all the time; the node is measured by what it had when it joined.
            now.resources.total.disk_mb = k.resources.total.disk_mb;
            now.attributes.extend(storage(k));
        }
        match services.replica.propose(Command::NodeRegister { node: Box::new(now), at: clock::now() }).await {
            Ok(_) => info!(node = %services.node, "node registered again: it changed"),
            Err(e) => warn!(error = %e, "the node's change could not be registered; trying again"),
        }
    }
}

fn storage(node: &Node) -> Vec<(String, String)> {
    node.attributes
        .iter()
        .filter(|(k, _)| k.starts_with("unique.storage."))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Nothing that placement or operators look at differs.
fn same(known: &Node, now: &Node) -> bool {
    let blank = |n: &Node| {
        let mut r = n.resources.clone();
        r.total.disk_mb = 0;
        let a: Vec<_> = n.attributes.iter().filter(|(k, _)| !k.starts_with("unique.storage.")).collect::<Vec<_>>();
        let a: Vec<(String, String)> = a.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let d: Vec<_> =
            n.drivers.iter().map(|(k, d)| (k.clone(), d.healthy, d.detected, d.description.clone())).collect();
        (r, a, d, n.meta.clone(), n.address.clone(), n.http_address.clone(), n.name.clone(), n.host_volumes.clone())
    };
    known.status == NodeStatus::Ready && blank(known) == blank(now)
}
