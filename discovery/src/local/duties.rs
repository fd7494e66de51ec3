//! What is due: plain functions from the state and the clocks to the commands to propose.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use model::{
    CheckId, Command, InstanceId, NodeName, SessionId, State, Timestamp,
    catalog::{CatalogNode, Check, Instance, Source, Weights},
    check::Verdict,
    command::CatalogRegistration,
    driver_config::Value,
    id::Index,
    service::Probe,
};
use tokio::time::Instant;

/// The service every server announces itself as.
pub const SERVER_SERVICE: &str = "consul";

/// When things were first seen on this agent. Nothing here needs to survive it.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// TTL checks: since when their time runs, unless they were reported later.
    ttl_since: HashMap<CheckId, Instant>,
    critical_since: HashMap<CheckId, Instant>,
}

/// What to propose, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub commands: Vec<Command>,
    pub next: Option<Instant>,
}

impl Step {
    fn look_again(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |n| n.min(at)));
    }
}

/// The checks registered through the API on this node, with their owners.
pub(super) fn own_checks<'a>(state: &'a State, node: &NodeName) -> Vec<(Option<&'a Instance>, &'a Check)> {
    let of_node = state.catalog_nodes.get(node).into_iter().flat_map(|n| n.checks.values()).map(|c| (None, c));
    let of_instances = state
        .instances_on(node)
        .filter(|i| !matches!(i.source, Source::Alloc(_)))
        .flat_map(|i| i.checks.values().map(move |c| (Some(i.as_ref()), c)));
    of_node.chain(of_instances).collect()
}

impl Clocks {
    pub(super) fn step(
        &mut self,
        state: &State,
        node: &NodeName,
        server_port: Option<u16>,
        beats: &mut HashMap<CheckId, Instant>,
        now: Instant,
    ) -> Step {
        let mut step = Step::default();
        let checks = own_checks(state, node);
        let ids: BTreeMap<&CheckId, ()> = checks.iter().map(|(_, c)| (&c.id, ())).collect();
        self.ttl_since.retain(|id, _| ids.contains_key(id));
        self.critical_since.retain(|id, _| ids.contains_key(id));
        beats.retain(|id, _| ids.contains_key(id));
        for (owner, check) in checks {
            self.ttl(node, owner, check, beats, now, &mut step);
            self.critical(node, owner, check, now, &mut step);
        }
        step.commands.extend(announcement(state, node, server_port));
        step
    }

    fn ttl(
        &mut self,
        node: &NodeName,
        owner: Option<&Instance>,
        check: &Check,
        beats: &HashMap<CheckId, Instant>,
        now: Instant,
        step: &mut Step,
    ) {
        let Some(Probe::Ttl { ttl }) = check.definition.as_ref().map(|d| &d.probe) else {
            self.ttl_since.remove(&check.id);
            return;
        };
        if check.verdict == Verdict::Critical {
            self.ttl_since.remove(&check.id);
            return;
        }
        let seen = *self.ttl_since.entry(check.id.clone()).or_insert(now);
        let due = beats.get(&check.id).map_or(seen, |b| seen.max(*b)) + *ttl;
        if due > now {
            step.look_again(due);
            return;
        }
        step.commands.push(Command::CheckVerdict {
            node: node.clone(),
            instance: owner.map(|i| i.id.clone()),
            check: check.id.clone(),
            verdict: Verdict::Critical,
            output: expired(&check.output),
        });
    }

    fn critical(&mut self, node: &NodeName, owner: Option<&Instance>, check: &Check, now: Instant, step: &mut Step) {
        let after = check.definition.as_ref().and_then(|d| d.deregister_critical_after).filter(|d| !d.is_zero());
        let (Some(owner), Some(after), Verdict::Critical) = (owner, after, check.verdict) else {
            self.critical_since.remove(&check.id);
            return;
        };
        let due = *self.critical_since.entry(check.id.clone()).or_insert(now) + after;
        if due > now {
            step.look_again(due);
            return;
        }
        step.commands.push(Command::CatalogDeregister {
            node: node.clone(),
            instance: Some(owner.id.clone()),
            check: None,
        });
    }
}

fn expired(last: &str) -> String {
    if last.is_empty() {
        "TTL expired".into()
    } else {
        format!("TTL expired (last output before timeout follows): {last}")
    }
}

/// This server in the catalog; `None` when it is there already, or its node is not yet.
fn announcement(state: &State, node: &NodeName, port: Option<u16>) -> Option<Command> {
    let record = state.catalog_nodes.get(node)?;
    let id = InstanceId::from(SERVER_SERVICE);
    let known = state.instance(node, &id);
    match (port, known) {
        (Some(port), Some(i)) if i.port == port => None,
        (Some(port), _) => Some(register(record, id, port)),
        (None, Some(i)) if i.source == Source::Agent && i.service.as_str() == SERVER_SERVICE => {
            Some(Command::CatalogDeregister { node: node.clone(), instance: Some(id), check: None })
        }
        (None, _) => None,
    }
}

fn register(record: &CatalogNode, id: InstanceId, port: u16) -> Command {
    let instance = Instance {
        service: SERVER_SERVICE.into(),
        node: record.name.clone(),
        id,
        address: String::new(),
        port,
        tags: [].into(),
        meta: [("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
        tagged_addresses: BTreeMap::new(),
        weights: Weights::default(),
        enable_tag_override: false,
        kind: String::new(),
        foreign: Value::Null,
        checks: BTreeMap::new(),
        source: Source::Agent,
        create_index: Index(0),
        modify_index: Index(0),
    };
    Command::CatalogRegister(Box::new(CatalogRegistration {
        node: record.clone(),
        skip_node_update: true,
        instance: Some(instance),
        replace_checks: false,
        checks: Vec::new(),
    }))
}

/// Sessions that are over, with the reason, and how long until the next one may be.
pub(super) fn sessions_over(state: &State, now: Timestamp) -> (Vec<(SessionId, String)>, Option<Duration>) {
    let mut over = Vec::new();
    let mut next: Option<Duration> = None;
    for session in state.sessions.values() {
        if let Some(why) = state.session_broken(session) {
            over.push((session.id, why));
        } else if !session.expires_at.is_zero() {
            if session.expires_at <= now {
                over.push((session.id, "its TTL passed without a renewal".into()));
            } else {
                let left = session.expires_at.since(now);
                next = Some(next.map_or(left, |n| n.min(left)));
            }
        }
    }
    (over, next)
}
