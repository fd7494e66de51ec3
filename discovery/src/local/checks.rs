//! One task per check registered through the API; their verdicts are proposed, again until they are.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use model::{
    CheckId, Command, InstanceId, NodeName, ProposeError, Replica, State, Topic, catalog::CheckDefinition,
    check::Verdict, service::Probe,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, warn};

use super::{RETRY, duties};
use crate::check::{self, NoScripts, Report};

struct Running {
    owner: Option<InstanceId>,
    definition: CheckDefinition,
    /// What the probe said last. The catalog must say the same, whoever wrote there in between.
    last: Option<Report>,
    _task: AbortOnDropHandle<()>,
}

/// Keep one task per check of `node` until the future is dropped.
pub(super) async fn run(replica: &dyn Replica, node: &NodeName, cancel: &CancellationToken) {
    // Verdicts change rarely; a full channel only makes the probes wait.
    let (tx, mut rx) = mpsc::channel(64);
    let mut running: HashMap<CheckId, Running> = HashMap::new();
    let mut unsaid: BTreeMap<CheckId, Report> = BTreeMap::new();
    loop {
        let mut woken = replica.waiters().subscribe(&[Topic::CatalogNode(node.clone())]);
        let contradicted = reconcile(&replica.snapshot(), node, &mut running, &tx, cancel);
        for report in contradicted {
            unsaid.entry(report.check.clone()).or_insert(report);
        }
        unsaid.retain(|id, _| running.contains_key(id));
        for id in unsaid.keys().cloned().collect::<Vec<_>>() {
            if let (Some(report), Some(check)) = (unsaid.get(&id), running.get(&id))
                && say(replica, node, check, report).await
            {
                unsaid.remove(&id);
            }
        }
        let again = Instant::now() + RETRY;
        tokio::select! {
            () = woken.wait() => {}
            report = rx.recv() => {
                // Only the newest verdict of a check matters.
                if let Some(report) = report {
                    if let Some(check) = running.get_mut(&report.check) {
                        check.last = Some(report.clone());
                    }
                    unsaid.insert(report.check.clone(), report);
                }
            }
            () = sleep_until(again), if !unsaid.is_empty() => {}
        }
    }
}

/// Propose one verdict; false when it must be tried again.
async fn say(replica: &dyn Replica, node: &NodeName, check: &Running, report: &Report) -> bool {
    let command = Command::CheckVerdict {
        node: node.clone(),
        instance: check.owner.clone(),
        check: report.check.clone(),
        verdict: report.verdict,
        output: report.output.clone(),
    };
    match replica.propose(command).await {
        Ok(_) => true,
        // It was deregistered meanwhile.
        Err(ProposeError::Rejected(why)) => {
            debug!(check = %report.check, %why, "verdict of a check that is gone");
            true
        }
        Err(e) => {
            warn!(check = %report.check, error = %e, "verdict was not stored; trying again");
            false
        }
    }
}

/// Start and stop tasks; returns the reports of those whose verdict in the catalog is another.
fn reconcile(
    state: &State,
    node: &NodeName,
    running: &mut HashMap<CheckId, Running>,
    out: &mpsc::Sender<Report>,
    cancel: &CancellationToken,
) -> Vec<Report> {
    let mut contradicted = Vec::new();
    let wanted = wanted(state, node);
    running.retain(|id, r| {
        wanted.get(id).is_some_and(|(owner, definition, _)| *owner == r.owner && *definition == r.definition)
    });
    for (id, (owner, definition, verdict)) in wanted {
        if let Some(known) = running.get(&id) {
            contradicted.extend(known.last.clone().filter(|last| last.verdict != verdict));
            continue;
        }
        let scripts = Arc::new(NoScripts("script checks are not enabled for services registered by API".into()));
        let task = check::run(id.clone(), definition.clone(), verdict, scripts, out.clone(), cancel.child_token());
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        running.insert(id, Running { owner, definition, last: None, _task: task });
    }
    contradicted
}

type Wanted = BTreeMap<CheckId, (Option<InstanceId>, CheckDefinition, Verdict)>;

fn wanted(state: &State, node: &NodeName) -> Wanted {
    let probed = |d: &&CheckDefinition| !matches!(d.probe, Probe::Ttl { .. });
    duties::own_checks(state, node)
        .into_iter()
        .filter_map(|(owner, check)| {
            let definition = check.definition.as_ref().filter(probed)?;
            Some((check.id.clone(), (owner.map(|i| i.id.clone()), definition.clone(), check.verdict)))
        })
        .collect()
}
