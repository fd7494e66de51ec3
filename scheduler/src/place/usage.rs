//! What is taken on a node, and whether something more fits.
//!
//! The evaluator, the plan applier and the property tests share this one definition of "fits". An allocation holds its
//! resources until its client says it is over, also when the servers have told it to stop. One exception, the hand-over:
//! an allocation that waits for its predecessor on the same node takes that predecessor's place, so the pair costs the
//! larger of the two, not the sum.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Alloc, AllocId, ClientStatus, Node, NodeId, State,
    resource::{Amount, GivenResources},
};

/// Why something does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// The dimension as clients know it: `cpu`, `memory`, `network: reserved port collision http=8080`.
    pub dimension: String,
    /// The sentence an operator reads.
    pub reason: String,
}

/// What is taken on one node.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub amount: Amount,
    pub cores: u32,
    /// Host port → the allocations that hold it (two during a hand-over).
    pub ports: BTreeMap<u16, Vec<AllocId>>,
}

impl Usage {
    /// What the allocations of a node hold now.
    #[must_use]
    pub fn of(state: &State, node: NodeId) -> Self {
        let mut usage = Self::default();
        for alloc in state.allocs_on_node(node).filter(|a| a.holds_resources()) {
            usage.hold(alloc, heir(state, alloc).map(|h| &h.resources));
        }
        usage
    }

    fn hold(&mut self, alloc: &Alloc, heir: Option<&GivenResources>) {
        let mut amount = alloc.resources.total();
        let mut cores = cores(&alloc.resources);
        if let Some(heir) = heir {
            amount = amount.minus(heir.total());
            cores = cores.saturating_sub(self::cores(heir));
        }
        self.amount += amount;
        self.cores += cores;
        for p in &alloc.resources.ports {
            self.ports.entry(p.value).or_default().push(alloc.id);
        }
    }

    /// Take what `alloc` was given. `from`: the predecessor on this node whose place it takes.
    pub fn add(&mut self, id: AllocId, given: &GivenResources, from: Option<&Alloc>) {
        let credit = from.map(|f| f.resources.total()).unwrap_or_default();
        self.amount += given.total().minus(credit);
        self.cores += cores(given).saturating_sub(from.map_or(0, |f| cores(&f.resources)));
        for p in &given.ports {
            self.ports.entry(p.value).or_default().push(id);
        }
    }

    /// Whether `ask` fits beside what is taken. Ports are looked at by [`Usage::port_free`].
    pub fn fits(&self, node: &Node, ask: Amount, ask_cores: u32, from: Option<&Alloc>) -> Result<(), Full> {
        let has = node.resources.total.minus(node.resources.reserved);
        let credit = from.map(|f| f.resources.total()).unwrap_or_default();
        let need = ask.minus(credit);
        let free = has.minus(self.amount);
        let full = |dimension: &str, unit: &str, asked: u64, free: u64, has: u64| Full {
            dimension: dimension.to_owned(),
            reason: format!("not enough {dimension}: {asked} {unit} asked, {free} of {has} {unit} free"),
        };
        if need.cpu_mhz > free.cpu_mhz {
            return Err(full("cpu", "MHz", ask.cpu_mhz, free.cpu_mhz, has.cpu_mhz));
        }
        if need.memory_mb > free.memory_mb {
            return Err(full("memory", "MiB", ask.memory_mb, free.memory_mb, has.memory_mb));
        }
        if need.disk_mb > free.disk_mb {
            return Err(full("disk", "MiB", ask.disk_mb, free.disk_mb, has.disk_mb));
        }
        let need_cores = ask_cores.saturating_sub(from.map_or(0, |f| cores(&f.resources)));
        let free_cores = node.resources.cores.saturating_sub(self.cores);
        if need_cores > free_cores {
            let (asked, free, has) = (ask_cores.into(), free_cores.into(), node.resources.cores.into());
            return Err(full("cores", "cores", asked, free, has));
        }
        Ok(())
    }

    /// Whether a host port can be given out; the reason names who holds it.
    pub fn port_free(&self, state: &State, node: &Node, port: u16, from: Option<&Alloc>) -> Result<(), String> {
        let from = from.map(|f| f.id);
        if let Some(holder) = self.ports.get(&port).and_then(|h| h.iter().find(|id| Some(**id) != from)) {
            let owner = state.allocs.get(holder).map_or_else(
                || "another allocation of this plan".to_owned(),
                |a| format!("allocation {} of job \"{}\"", a.id.short(), a.job.id),
            );
            return Err(format!("port {port} is taken on node {} by {owner}", node.name));
        }
        if node.resources.reserved_ports.contains(&port) {
            return Err(format!("port {port} is taken on node {} (kept out of scheduling by its operator)", node.name));
        }
        if let Some(role) = node.attributes.get(&format!("unique.trine.port.{port}")) {
            return Err(format!("port {port} is taken on node {} (the agent's own {})", node.name, role_name(role)));
        }
        // What the predecessor listens on is its own, even if the node saw it as foreign for a moment.
        let inherited = self.ports.get(&port).is_some_and(|h| h.iter().any(|id| Some(*id) == from));
        if !inherited && node.resources.ports_in_use.contains(&port) {
            return Err(format!("port {port} is taken on node {} (listening, not by an allocation)", node.name));
        }
        Ok(())
    }

    /// Everything the plan applier must know of one placement: amounts, cores and ports. `shared_ports` are those the
    /// job marked `ignore_collision`.
    pub fn check(
        &self,
        state: &State,
        node: &Node,
        given: &GivenResources,
        from: Option<&Alloc>,
        shared_ports: &[u16],
    ) -> Result<(), String> {
        self.fits(node, given.total(), cores(given), from).map_err(|f| f.reason)?;
        let mut own = given.ports.iter().filter(|p| !shared_ports.contains(&p.value));
        own.try_for_each(|p| self.port_free(state, node, p.value, from))
    }
}

/// An agent role's name in words.
#[must_use]
pub fn role_name(role: &str) -> &str {
    match role {
        "lb" => "load balancer",
        "lb_admin" => "load balancer's admin API",
        "http" => "HTTP API",
        "catalog" | "discovery" => "catalog API",
        "dns" => "DNS server",
        "rpc" => "RPC server",
        other => other,
    }
}

/// Whole cores that were given.
#[must_use]
pub fn cores(given: &GivenResources) -> u32 {
    given.tasks.values().map(|t| t.cores).sum()
}

/// The allocation that waits on the same node for `alloc` to end, to take its place. It may have been told to stop
/// itself meanwhile; until its client agrees, the pair stays a pair.
#[must_use]
pub fn heir<'a>(state: &'a State, alloc: &Alloc) -> Option<&'a Arc<Alloc>> {
    let heir = state.allocs.get(&alloc.next?)?;
    waits(state, heir).then_some(heir)
}

/// Its client does not start it before its predecessor on the same node, which was told to stop, has ended.
#[must_use]
pub fn waits(state: &State, alloc: &Alloc) -> bool {
    let previous = alloc.previous.and_then(|p| state.allocs.get(&p));
    alloc.client == ClientStatus::Pending
        && previous.is_some_and(|p| p.node == alloc.node && p.server_terminal() && p.holds_resources())
}

/// Whether a new allocation on `node` may be given the place of `old`. One that waits for a place itself has none to give.
#[must_use]
pub fn can_hand_over(state: &State, old: &Alloc, node: NodeId) -> bool {
    old.node == node && old.holds_resources() && !waits(state, old)
}
