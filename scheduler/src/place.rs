//! Placing: which node takes one more allocation of a group, and why the others do not.
//!
//! ```text
//!  nodes in reach and open, shuffled ─► suits (cached) ─► distinct ─► room and ports ─► scores ─► best of the first few
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{
    Alloc, AllocId, Group, GroupName, Job, Node, NodeId, State,
    job::Operator,
    metric::{AllocMetric, NodeScore, Refusal},
    resource::{Amount, GivenResources, GivenTask},
};

pub mod constraint;
pub mod feasible;
pub mod ports;
pub mod score;
#[cfg(test)]
mod tests;
pub mod usage;
pub mod version;

use crate::evaluate::dice::Dice;
use feasible::Unfit;
use usage::{Full, Usage};

/// Below this many nodes every one is scored; above, the first log2(n) that fit, which random order makes good enough.
const SCORE_ALL_BELOW: usize = 64;
/// With affinities or spreads the choice matters more than its cost.
const SCORED_WITH_PREFERENCES: usize = 100;
const REFUSALS_KEPT: usize = 20;
const SCORES_KEPT: usize = 5;

/// What is to be placed.
pub struct Ask<'a> {
    pub job: &'a Job,
    pub group: &'a Group,
    /// The running allocation whose place the new one takes, when it may have its room on the same node.
    pub from: Option<&'a Alloc>,
    /// Nodes on which earlier attempts failed.
    pub avoid: BTreeSet<NodeId>,
    /// A node to take if it fits at all (sticky disks).
    pub prefer: Option<NodeId>,
}

/// Where it goes and what it gets.
#[derive(Debug)]
pub struct Spot<'a> {
    pub node: &'a Node,
    pub resources: GivenResources,
    pub metric: AllocMetric,
}

enum No {
    Unfit(Unfit),
    Full(Full),
}

/// One evaluation's view of the nodes, with what it has already placed.
pub struct Placer<'a> {
    state: &'a State,
    nodes: Vec<&'a Node>,
    closed: Vec<(&'a Node, Unfit)>,
    in_pool: u32,
    available: BTreeMap<String, u32>,
    usage: HashMap<NodeId, Usage>,
    suits: HashMap<(u64, GroupName, NodeId), Result<(), Unfit>>,
    /// Allocations of the job that count for distinctness, anti-affinity and spreads.
    peers: BTreeMap<NodeId, BTreeMap<AllocId, GroupName>>,
    /// Where the next search begins, so that full nodes at the front are not tried again and again.
    offset: usize,
    pub dice: Dice,
}

impl<'a> Placer<'a> {
    pub fn new(state: &'a State, job: &Job, mut dice: Dice) -> Self {
        let mut placer = Self {
            state,
            nodes: Vec::new(),
            closed: Vec::new(),
            in_pool: 0,
            available: BTreeMap::new(),
            usage: HashMap::new(),
            suits: HashMap::new(),
            peers: BTreeMap::new(),
            offset: 0,
            dice: dice.clone(),
        };
        for node in state.nodes.values() {
            placer.in_pool += u32::from(job.node_pool == "all" || node.pool == job.node_pool);
            match feasible::in_reach(job, node).and_then(|()| feasible::open(node)) {
                Ok(()) => {
                    *placer.available.entry(node.datacenter.clone()).or_default() += 1;
                    placer.nodes.push(node);
                }
                Err(unfit) => placer.closed.push((node, unfit)),
            }
        }
        dice.shuffle(&mut placer.nodes);
        placer.dice = dice;
        for alloc in state.allocs_of_job(&job.key()).filter(|a| !a.terminal()) {
            placer.join(alloc.node, alloc.id, &alloc.group);
        }
        placer
    }

    /// Nodes that take new work of this job, in shuffled order.
    #[must_use]
    pub fn nodes(&self) -> &[&'a Node] {
        &self.nodes
    }

    fn join(&mut self, node: NodeId, id: AllocId, group: &GroupName) {
        self.peers.entry(node).or_default().insert(id, group.clone());
    }

    /// An allocation that the plan stops: it no longer counts as a peer.
    pub fn leave(&mut self, alloc: &Alloc) {
        if let Some(peers) = self.peers.get_mut(&alloc.node) {
            peers.remove(&alloc.id);
        }
    }

    /// Record a placement, so that the next one sees it.
    pub fn take(&mut self, alloc: &Alloc, from: Option<&Alloc>) {
        let state = self.state;
        let from = from.filter(|f| usage::can_hand_over(state, f, alloc.node));
        let usage = self.usage.entry(alloc.node).or_insert_with(|| Usage::of(state, alloc.node));
        usage.add(alloc.id, &alloc.resources, from);
        self.join(alloc.node, alloc.id, &alloc.group);
    }

    /// The best node, or why there is none.
    pub fn place(&mut self, ask: &Ask<'_>) -> Result<Spot<'a>, Box<AllocMetric>> {
        let mut metric = self.blank_metric();
        let counts = self.spread_counts(ask);
        let limit = self.limit(ask);
        let mut best: Option<(f64, &'a Node, GivenResources)> = None;
        let mut found = 0;
        let (n, offset) = (self.nodes.len(), self.offset);
        let preferred = ask.prefer.and_then(|p| self.nodes.iter().position(|node| node.id == p));
        let order = preferred.into_iter().chain((0..n).map(|i| (offset + i) % n.max(1)));
        for (tried, at) in order.enumerate() {
            let node = self.nodes[at];
            metric.nodes_evaluated += 1;
            match self.try_node(ask, node) {
                Ok(resources) => {
                    let norm = self.score(ask, node, &resources, &counts, &mut metric);
                    found += 1;
                    if best.as_ref().is_none_or(|b| norm > b.0) {
                        best = Some((norm, node, resources));
                    }
                    if found >= limit || (tried == 0 && preferred.is_some()) {
                        self.offset = (at + 1) % n;
                        break;
                    }
                }
                Err(no) => refuse(&mut metric, node, no),
            }
        }
        match best {
            Some((_, node, resources)) => {
                metric.scores.sort_by(|a, b| b.norm.total_cmp(&a.norm));
                metric.scores.truncate(SCORES_KEPT);
                Ok(Spot { node, resources, metric })
            }
            None => {
                self.explain_closed(&mut metric);
                Err(Box::new(metric))
            }
        }
    }

    /// Place on this very node (system jobs).
    pub fn place_on(&mut self, ask: &Ask<'_>, node: &'a Node) -> Result<Spot<'a>, Box<Refused>> {
        let mut metric = self.blank_metric();
        metric.nodes_evaluated = 1;
        match self.try_node(ask, node) {
            Ok(resources) => {
                self.score(ask, node, &resources, &[], &mut metric);
                Ok(Spot { node, resources, metric })
            }
            Err(no) => {
                let full = matches!(no, No::Full(_));
                refuse(&mut metric, node, no);
                Err(Box::new(Refused { full, metric }))
            }
        }
    }

    /// Whether an allocation that runs here may go on under a changed specification.
    pub fn still_suits(&mut self, job: &Job, group: &Group, node: &Node) -> bool {
        feasible::in_reach(job, node).is_ok() && self.suitable(job, group, node).is_ok()
    }

    fn suitable(&mut self, job: &Job, group: &Group, node: &Node) -> Result<(), Unfit> {
        let key = (job.version, group.name.clone(), node.id);
        self.suits.entry(key).or_insert_with(|| feasible::suits(job, group, node)).clone()
    }

    fn try_node(&mut self, ask: &Ask<'_>, node: &'a Node) -> Result<GivenResources, No> {
        self.suitable(ask.job, ask.group, node).map_err(No::Unfit)?;
        self.distinct(ask, node).map_err(No::Unfit)?;
        let state = self.state;
        let usage = self.usage.entry(node.id).or_insert_with(|| Usage::of(state, node.id));
        let from = ask.from.filter(|f| usage::can_hand_over(state, f, node.id));
        let mut given = give(ask.group, node);
        usage.fits(node, given.total(), usage::cores(&given), from).map_err(No::Full)?;
        given.ports = ports::assign(state, node, ask.group, usage, from, &mut self.dice).map_err(No::Full)?;
        Ok(given)
    }

    /// `distinct_hosts` and `distinct_property` against the job's other allocations.
    fn distinct(&self, ask: &Ask<'_>, node: &Node) -> Result<(), Unfit> {
        let leaving = ask.from.map(|f| f.id);
        let of_job = ask.job.constraints.iter().map(|c| (c, true));
        let of_group = ask.group.constraints.iter().chain(ask.group.tasks.iter().flat_map(|t| &t.constraints));
        for (c, whole_job) in of_job.chain(of_group.map(|c| (c, false))) {
            let counts = |id: &AllocId, g: &GroupName| Some(*id) != leaving && (whole_job || *g == ask.group.name);
            match c.operator {
                Operator::DistinctHosts if c.value != "false" => {
                    let here = self.peers.get(&node.id).and_then(|p| p.iter().find(|(id, g)| counts(id, g)));
                    if let Some((id, _)) = here {
                        return Err(Unfit {
                            filter: "distinct_hosts".into(),
                            reason: format!("distinct_hosts: allocation {} of the job is here", id.short()),
                        });
                    }
                }
                Operator::DistinctProperty => self.distinct_property(&c.attribute, &c.value, node, &counts)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn distinct_property(
        &self,
        attribute: &str,
        limit: &str,
        node: &Node,
        counts: &dyn Fn(&AllocId, &GroupName) -> bool,
    ) -> Result<(), Unfit> {
        let Some(value) = constraint::resolve(attribute, node) else {
            let text = format!("missing property \"{attribute}\"");
            return Err(Unfit { filter: text.clone(), reason: text });
        };
        let limit: usize = limit.parse().unwrap_or(1).max(1);
        let same = |id: &NodeId| {
            self.state.nodes.get(id).is_some_and(|n| constraint::resolve(attribute, n).as_deref() == Some(&value))
        };
        let nodes = self.peers.iter().filter(|(id, _)| same(id));
        let used: usize = nodes.map(|(_, p)| p.iter().filter(|(id, g)| counts(id, g)).count()).sum();
        if used < limit {
            return Ok(());
        }
        let text = format!("distinct_property: {attribute}={value} used by {used} allocs");
        Err(Unfit { filter: text.clone(), reason: text })
    }

    fn limit(&self, ask: &Ask<'_>) -> usize {
        let n = self.nodes.len();
        let has_affinity = !ask.job.affinities.is_empty()
            || !ask.group.affinities.is_empty()
            || ask.group.tasks.iter().any(|t| !t.affinities.is_empty());
        if has_affinity || score::spreads(ask.job, ask.group).next().is_some() {
            return SCORED_WITH_PREFERENCES.max(ask.group.count as usize);
        }
        if n <= SCORE_ALL_BELOW {
            return n;
        }
        if ask.job.kind.runs_to_completion() { 2 } else { (usize::BITS - n.leading_zeros()) as usize }
    }

    /// Per spread of the group: how many of its allocations each value has.
    fn spread_counts(&self, ask: &Ask<'_>) -> Vec<BTreeMap<String, u32>> {
        let one = |s: &model::job::Spread| {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for (id, peers) in &self.peers {
                let Some(value) = self.state.nodes.get(id).and_then(|n| constraint::resolve(&s.attribute, n)) else {
                    continue;
                };
                let here = peers.values().filter(|g| **g == ask.group.name).count();
                *counts.entry(value.into_owned()).or_default() += u32::try_from(here).unwrap_or(u32::MAX);
            }
            counts
        };
        score::spreads(ask.job, ask.group).map(one).collect()
    }

    fn score(
        &self,
        ask: &Ask<'_>,
        node: &Node,
        given: &GivenResources,
        counts: &[BTreeMap<String, u32>],
        metric: &mut AllocMetric,
    ) -> f64 {
        let used = self.usage.get(&node.id).map(|u| u.amount).unwrap_or_default() + given.total();
        let mut scores = BTreeMap::from([("binpack".to_owned(), score::binpack(node, used))]);
        let peers = self.peers.get(&node.id);
        let neighbours = peers.map_or(0, |p| p.values().filter(|g| **g == ask.group.name).count());
        if neighbours > 0 {
            scores.insert("job-anti-affinity".into(), score::anti_affinity(neighbours, ask.group.count));
        }
        if ask.avoid.contains(&node.id) {
            scores.insert("node-reschedule-penalty".into(), -1.0);
        }
        if let Some(s) = score::affinity(ask.job, ask.group, node) {
            scores.insert("node-affinity".into(), s);
        }
        if let Some(s) = score::spread(ask.job, ask.group, node, counts) {
            scores.insert("allocation-spread".into(), s);
        }
        let norm = scores.values().sum::<f64>() / scores.len() as f64;
        metric.scores.push(NodeScore { node: Some(node.id), scores, norm });
        norm
    }

    fn blank_metric(&self) -> AllocMetric {
        AllocMetric { nodes_in_pool: self.in_pool, nodes_available: self.available.clone(), ..AllocMetric::default() }
    }

    /// Name the nodes that were not even looked at; without them "0 nodes evaluated" explains nothing.
    fn explain_closed(&self, metric: &mut AllocMetric) {
        for (node, unfit) in &self.closed {
            push_refusal(metric, node, &unfit.reason);
        }
    }
}

/// A node that a system job wanted and did not get.
#[derive(Debug)]
pub struct Refused {
    /// It had no room (worth waiting for), rather than being the wrong node.
    pub full: bool,
    pub metric: AllocMetric,
}

fn refuse(metric: &mut AllocMetric, node: &Node, no: No) {
    let class = (!node.class.is_empty()).then(|| node.class.clone());
    match no {
        No::Unfit(Unfit { filter, reason }) => {
            metric.nodes_filtered += 1;
            *metric.constraint_filtered.entry(filter).or_default() += 1;
            if let Some(class) = class {
                *metric.class_filtered.entry(class).or_default() += 1;
            }
            push_refusal(metric, node, &reason);
        }
        No::Full(Full { dimension, reason }) => {
            metric.nodes_exhausted += 1;
            *metric.dimension_exhausted.entry(dimension).or_default() += 1;
            if let Some(class) = class {
                *metric.class_exhausted.entry(class).or_default() += 1;
            }
            push_refusal(metric, node, &reason);
        }
    }
}

fn push_refusal(metric: &mut AllocMetric, node: &Node, reason: &str) {
    if metric.refusals.len() < REFUSALS_KEPT {
        let refusal = Refusal { node: node.id, node_name: node.name.clone(), reason: reason.to_owned() };
        metric.refusals.push(refusal);
    }
}

/// Fold the record of one node into that of a whole group.
pub fn merge(into: &mut AllocMetric, one: AllocMetric) {
    into.nodes_evaluated += one.nodes_evaluated;
    into.nodes_filtered += one.nodes_filtered;
    into.nodes_exhausted += one.nodes_exhausted;
    into.nodes_in_pool = one.nodes_in_pool;
    into.nodes_available = one.nodes_available;
    let maps = [
        (&mut into.class_filtered, one.class_filtered),
        (&mut into.constraint_filtered, one.constraint_filtered),
        (&mut into.class_exhausted, one.class_exhausted),
        (&mut into.dimension_exhausted, one.dimension_exhausted),
    ];
    for (sum, part) in maps {
        for (k, n) in part {
            *sum.entry(k).or_default() += n;
        }
    }
    into.refusals.extend(one.refusals);
    into.refusals.truncate(REFUSALS_KEPT);
}

/// What the tasks of a group are given on a node, ports apart.
fn give(group: &Group, node: &Node) -> GivenResources {
    let per_core = node.resources.total.cpu_mhz.checked_div(node.resources.cores.into()).unwrap_or(0);
    let tasks = group.tasks.iter().map(|t| {
        let r = &t.resources;
        let cpu_mhz = if r.cores > 0 { per_core * u64::from(r.cores) } else { r.cpu_mhz };
        let given =
            GivenTask { cpu_mhz, cores: r.cores, memory_mb: r.memory_mb, memory_max_mb: r.memory_max_mb.unwrap_or(0) };
        (t.name.clone(), given)
    });
    GivenResources { tasks: tasks.collect(), disk_mb: group.disk.size_mb, ports: Vec::new() }
}

/// What one allocation of the group costs at least, for a quick look whether freed room could help.
#[must_use]
pub fn cost(group: &Group) -> Amount {
    let mut sum = Amount { disk_mb: group.disk.size_mb, ..Amount::default() };
    for t in &group.tasks {
        let cpu_mhz = if t.resources.cores > 0 { 0 } else { t.resources.cpu_mhz };
        sum += Amount { cpu_mhz, memory_mb: t.resources.memory_mb, disk_mb: 0 };
    }
    sum
}
