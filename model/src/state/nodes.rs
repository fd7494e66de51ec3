//! Client nodes: registration, status, drain, eligibility; each change looks at the jobs it may move.

use std::{collections::BTreeSet, sync::Arc};

use super::Tx;
use crate::{
    catalog::{CatalogNode, Check, Source},
    check::Verdict,
    command::{Noun, Rejected, Reply},
    driver_config::Value,
    eval::Trigger,
    id::{Index, NodeId, NodeName},
    job::JobKey,
    node::{Drain, Eligibility, Node, NodeEvent, NodeStatus},
    time::Timestamp,
    topic::Topic,
};

/// The check every agent's node carries.
pub const NODE_CHECK: &str = "serfHealth";
const EVENTS_KEPT: usize = 10;

impl Tx {
    pub(super) fn node_register(&mut self, mut node: Node, at: Timestamp) -> Result<Reply, Rejected> {
        if let Some(other) = self.s.nodes.values().find(|n| n.name == node.name && n.id != node.id && !n.lost()) {
            return Err(Rejected::Conflict(format!(
                "node name \"{}\" is taken by node {}; give this agent another `name`, or purge the old node",
                node.name, other.id
            )));
        }
        let old = self.s.nodes.get(&node.id).cloned();
        let became_ready =
            node.status == NodeStatus::Ready && old.as_ref().is_none_or(|o| o.status != NodeStatus::Ready);
        match &old {
            // Operators' decisions outlive a restart of the agent.
            Some(o) => {
                node.create_index = o.create_index;
                node.eligibility = o.eligibility;
                node.drain.clone_from(&o.drain);
                node.events.clone_from(&o.events);
                note(&mut node, at, "Cluster", "Node re-registered", became_ready);
            }
            None => {
                node.create_index = self.index;
                note(&mut node, at, "Cluster", "Node registered", true);
            }
        }
        node.status_updated_at = at;
        let id = node.id;
        if let Some(o) = &old {
            // A repeated registration wakes nobody.
            node.modify_index = o.modify_index;
            node.status_updated_at = if o.status == node.status { o.status_updated_at } else { at };
            if **o == node {
                return Ok(Reply::Done);
            }
        }
        let suitability_moved = old.as_ref().is_none_or(|o| suitability(o) != suitability(&node));
        self.put_node(node);
        if became_ready || suitability_moved {
            self.evaluate_node(id, at);
        }
        Ok(Reply::Done)
    }

    pub(super) fn node_status(
        &mut self,
        id: NodeId,
        status: NodeStatus,
        description: &str,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let mut node = self.change_node(id)?;
        if node.status == status {
            return Ok(Reply::Done);
        }
        node.status = status;
        node.status_description = description.to_owned();
        node.status_updated_at = at;
        let words = format!("Node status changed to {}", status.as_str());
        note(&mut node, at, "Cluster", if description.is_empty() { &words } else { description }, true);
        self.put_node(node);
        self.evaluate_node(id, at);
        Ok(Reply::Done)
    }

    pub(super) fn node_drain(
        &mut self,
        id: NodeId,
        drain: Option<Drain>,
        mark_eligible: bool,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let mut node = self.change_node(id)?;
        let words = match (&drain, node.drain.is_some()) {
            (Some(_), false) => "Node drain strategy set",
            (Some(_), true) => "Node drain strategy updated",
            (None, true) => "Node drain complete",
            (None, false) => "Node drain strategy cleared",
        };
        node.eligibility = match drain {
            Some(_) => Eligibility::Ineligible,
            None if mark_eligible => Eligibility::Eligible,
            None => node.eligibility,
        };
        node.drain = drain;
        note(&mut node, at, "Drain", words, true);
        self.put_node(node);
        self.evaluate_node(id, at);
        Ok(Reply::Done)
    }

    pub(super) fn node_eligibility(
        &mut self,
        id: NodeId,
        eligibility: Eligibility,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let mut node = self.change_node(id)?;
        if eligibility == Eligibility::Eligible && node.drain.is_some() {
            return Err(Rejected::Invalid(
                "can not set node's scheduling eligibility to eligible while it is draining".into(),
            ));
        }
        if node.eligibility == eligibility {
            return Ok(Reply::Done);
        }
        node.eligibility = eligibility;
        let words = format!("Node marked as {} for scheduling", eligibility.as_str());
        note(&mut node, at, "Cluster", &words, true);
        self.put_node(node);
        if eligibility == Eligibility::Eligible {
            self.evaluate_node(id, at);
        }
        Ok(Reply::Done)
    }

    pub(super) fn node_purge(&mut self, id: NodeId, at: Timestamp) -> Result<Reply, Rejected> {
        if !self.s.nodes.contains_key(&id) {
            return Err(Rejected::NotFound(Noun::Node));
        }
        self.evaluate_node(id, at);
        self.forget_node(id);
        Ok(Reply::Done)
    }

    pub(super) fn forget_node(&mut self, id: NodeId) {
        let Some(node) = self.s.nodes.remove(&id) else { return };
        self.touch_node(id);
        let name = NodeName::from(node.name.as_str());
        if self.s.catalog_nodes.get(&name).is_some_and(|c| c.source == Source::Node) {
            self.forget_catalog_node(&name);
        }
    }

    fn change_node(&self, id: NodeId) -> Result<Node, Rejected> {
        self.s.nodes.get(&id).map(|n| Node::clone(n)).ok_or(Rejected::NotFound(Noun::Node))
    }

    fn put_node(&mut self, mut node: Node) {
        node.modify_index = self.index;
        self.put_agent_node(catalog_node(&node));
        self.touch_node(node.id);
        self.s.nodes.insert(node.id, Arc::new(node));
    }

    fn touch_node(&mut self, id: NodeId) {
        self.s.tables.nodes = self.index;
        self.touch(Topic::Nodes);
        self.touch(Topic::Node(id));
    }

    /// Look again at every job with allocations on the node, and at every job that runs on all nodes.
    fn evaluate_node(&mut self, id: NodeId, at: Timestamp) {
        let mut jobs: BTreeSet<JobKey> =
            self.s.allocs_on_node(id).filter(|a| !a.terminal()).map(|a| a.job.clone()).collect();
        jobs.extend(self.s.jobs.values().filter(|j| j.kind.per_node() && !j.stop).map(|j| j.key()));
        for job in jobs {
            self.evaluate_job(&job, Trigger::NodeUpdate, Some(id), at);
        }
    }
}

/// What decides whether a node's allocations may stay: everything but the figures that change from minute to minute.
/// (More room, or a port set free, concerns only blocked evaluations; the leader sees to those.)
fn suitability(node: &Node) -> Node {
    let mut n = node.clone();
    n.attributes.retain(|k, _| !k.starts_with("unique."));
    n.resources.ports_in_use.clear();
    n.drivers.values_mut().for_each(|d| d.updated_at = Timestamp::ZERO);
    n.events.clear();
    n.modify_index = Index(0);
    n.status_updated_at = Timestamp::ZERO;
    n.http_address.clear();
    n
}

fn note(node: &mut Node, at: Timestamp, subsystem: &str, message: &str, really: bool) {
    if !really {
        return;
    }
    node.events.push(NodeEvent { at, subsystem: subsystem.to_owned(), message: message.to_owned() });
    let extra = node.events.len().saturating_sub(EVENTS_KEPT);
    node.events.drain(..extra);
}

/// The node as discovery sees it, with the check that says whether its agent is alive.
fn catalog_node(node: &Node) -> CatalogNode {
    let alive = matches!(node.status, NodeStatus::Ready | NodeStatus::Initializing);
    let check = Check {
        id: NODE_CHECK.into(),
        name: "Serf Health Status".into(),
        verdict: if alive { Verdict::Passing } else { Verdict::Critical },
        notes: String::new(),
        output: if alive { "Agent alive and reachable" } else { "Agent not live or unreachable" }.into(),
        kind: String::new(),
        definition: None,
        foreign_definition: Value::Null,
        create_index: Index(0),
        modify_index: Index(0),
    };
    CatalogNode {
        name: node.name.as_str().into(),
        id: node.id.to_string(),
        address: node.address.clone(),
        datacenter: node.datacenter.clone(),
        tagged_addresses: ["lan", "lan_ipv4", "wan", "wan_ipv4"]
            .into_iter()
            .filter(|k| !k.ends_with("_ipv4") || node.address.parse::<std::net::Ipv4Addr>().is_ok())
            .map(|k| (k.to_owned(), node.address.clone()))
            .collect(),
        meta: node.meta.clone(),
        checks: [(check.id.clone(), check)].into(),
        source: Source::Node,
        create_index: Index(0),
        modify_index: Index(0),
    }
}
