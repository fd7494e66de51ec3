//! The catalog tables: nodes, service instances, checks, and the indexes their blocking queries watch.
//!
//! A write that changes nothing moves no index, so repeated registrations wake nobody.

use std::{collections::BTreeMap, sync::Arc};

#[cfg(test)]
mod tests;

use super::{State, Tx, derive};
use crate::{
    alloc::Alloc,
    catalog::{CatalogNode, Check, Instance, Source},
    check::Verdict,
    command::{CatalogRegistration, Noun, Rejected, Reply},
    id::{AllocId, CheckId, Index, InstanceId, NodeName, ServiceName},
    topic::Topic,
};

impl State {
    /// The index a query of one service sees. Never goes back, also when the last instance leaves.
    #[must_use]
    pub fn service_index(&self, name: &str) -> Index {
        self.services.get(name).map_or(self.tables.service_extinction, |s| s.modify_index)
    }

    /// The index a query of one node, its checks and its services sees.
    #[must_use]
    pub fn catalog_node_index(&self, name: &str) -> Index {
        match self.catalog_nodes.get(name) {
            Some(node) => node.modify_index.max(self.node_service_indexes.get(name).copied().unwrap_or_default()),
            None => self.tables.node_extinction,
        }
    }
}

impl Tx {
    pub(super) fn catalog_register(&mut self, r: CatalogRegistration) -> Result<Reply, Rejected> {
        let name = r.node.name.clone();
        self.register_node(r.node, r.skip_node_update)?;
        let mut rest = r.checks;
        if let Some(instance) = r.instance {
            let (own, others) = rest.into_iter().partition(|(owner, _)| owner.as_ref() == Some(&instance.id));
            rest = others;
            self.register_instance(instance, own, r.replace_checks)?;
        }
        for (owner, check) in rest {
            if let Some(old) = owner.as_ref().and_then(|id| self.s.instance(&name, id)) {
                refuse_allocs(old)?;
            }
            self.take_check_from_others(&name, owner.as_ref(), &check.id);
            self.put_check(&name, owner.as_ref(), check)?;
        }
        Ok(Reply::Done)
    }

    /// The node part of a registration. The record of a node that runs an agent is the agent's own and stays.
    fn register_node(&mut self, mut node: CatalogNode, skip: bool) -> Result<(), Rejected> {
        let Some(old) = self.s.catalog_nodes.get(&node.name).cloned() else {
            self.put_catalog_node(node);
            return Ok(());
        };
        if skip {
            return Ok(());
        }
        if old.source != Source::Node {
            node.checks.clone_from(&old.checks);
            self.put_catalog_node(node);
        } else if !node.id.is_empty() && !node.id.eq_ignore_ascii_case(&old.id) {
            return Err(Rejected::Conflict(format!(
                "node name {} is reserved by node {} at {}; register under another name",
                node.name, old.id, old.address
            )));
        }
        Ok(())
    }

    /// The instance goes in with its checks at once, so that an identical registration changes nothing.
    fn register_instance(
        &mut self,
        mut instance: Instance,
        checks: Vec<(Option<InstanceId>, Check)>,
        replace_checks: bool,
    ) -> Result<(), Rejected> {
        let node = instance.node.clone();
        let old = self.s.instance(&node, &instance.id).cloned();
        if let Some(old) = &old {
            refuse_allocs(old)?;
            if !replace_checks {
                instance.checks.clone_from(&old.checks);
            }
            // What the agent owns stays the agent's, however it was last written.
            if old.source == Source::Agent {
                instance.source = Source::Agent;
            }
        }
        for (_, check) in checks {
            self.take_check_from_others(&node, Some(&instance.id), &check.id);
            instance.checks.insert(check.id.clone(), check);
        }
        if let Some(old) = old.filter(|o| o.service != instance.service) {
            self.drop_instance(&old);
        }
        self.put_instance(instance);
        Ok(())
    }

    /// Check ids are unique on a node: one that comes to a new owner leaves the old one.
    fn take_check_from_others(&mut self, node: &NodeName, owner: Option<&InstanceId>, check: &CheckId) {
        let of_node =
            self.s.catalog_nodes.get(node).filter(|n| owner.is_some() && n.checks.contains_key(check)).cloned();
        if let Some(old) = of_node {
            let mut next = CatalogNode::clone(&old);
            next.checks.remove(check);
            self.put_catalog_node(next);
        }
        let elsewhere: Vec<_> = self
            .s
            .instances_on(node)
            .filter(|i| Some(&i.id) != owner && i.checks.contains_key(check))
            .filter(|i| !matches!(i.source, Source::Alloc(_)))
            .cloned()
            .collect();
        for old in elsewhere {
            let mut next = Instance::clone(&old);
            next.checks.remove(check);
            self.put_instance(next);
        }
    }

    fn put_check(&mut self, node: &NodeName, owner: Option<&InstanceId>, check: Check) -> Result<(), Rejected> {
        match owner {
            Some(id) => {
                let old = self
                    .s
                    .instance(node, id)
                    .cloned()
                    .ok_or_else(|| Rejected::Invalid("Missing service registration".into()))?;
                let mut next = Instance::clone(&old);
                next.checks.insert(check.id.clone(), check);
                self.put_instance(next);
            }
            None => {
                let old = self
                    .s
                    .catalog_nodes
                    .get(node)
                    .cloned()
                    .ok_or_else(|| Rejected::Invalid("Missing node registration".into()))?;
                let mut next = CatalogNode::clone(&old);
                next.checks.insert(check.id.clone(), check);
                self.put_catalog_node(next);
            }
        }
        Ok(())
    }

    pub(super) fn catalog_deregister(
        &mut self,
        node: &NodeName,
        instance: Option<InstanceId>,
        check: Option<CheckId>,
    ) -> Result<Reply, Rejected> {
        match (instance, check) {
            (Some(id), _) => {
                if let Some(old) = self.s.instance(node, &id).cloned() {
                    refuse_allocs(&old)?;
                    self.drop_instance(&old);
                }
            }
            (None, Some(check)) => self.drop_check(node, &check)?,
            (None, None) => {
                if let Some(agent) = self.s.nodes.values().find(|n| n.name == node.as_str() && !n.lost()) {
                    return Err(Rejected::Conflict(format!(
                        "node {} runs an agent at {}; stop the agent, then it can be deregistered",
                        agent.name, agent.address
                    )));
                }
                self.forget_catalog_node(node);
            }
        }
        Ok(Reply::Done)
    }

    fn drop_check(&mut self, node: &NodeName, check: &CheckId) -> Result<(), Rejected> {
        if let Some(old) = self.s.catalog_nodes.get(node).filter(|n| n.checks.contains_key(check)).cloned() {
            let mut next = CatalogNode::clone(&old);
            next.checks.remove(check);
            self.put_catalog_node(next);
        }
        let owner = self.s.instances_on(node).find(|i| i.checks.contains_key(check)).cloned();
        if let Some(old) = owner {
            refuse_allocs(&old)?;
            let mut next = Instance::clone(&old);
            next.checks.remove(check);
            self.put_instance(next);
        }
        Ok(())
    }

    pub(super) fn check_verdict(
        &mut self,
        node: &NodeName,
        instance: Option<&InstanceId>,
        check: &CheckId,
        verdict: Verdict,
        output: String,
    ) -> Result<Reply, Rejected> {
        if let Some(owner) = instance.and_then(|id| self.s.instance(node, id)) {
            refuse_allocs(owner)?;
        }
        let stored = match instance {
            Some(id) => self.s.instance(node, id).and_then(|i| i.checks.get(check)).cloned(),
            None => self.s.catalog_nodes.get(node).and_then(|n| n.checks.get(check)).cloned(),
        };
        let mut next = stored.ok_or(Rejected::NotFound(Noun::Check))?;
        next.verdict = verdict;
        next.output = output;
        self.put_check(node, instance, next)?;
        Ok(Reply::Done)
    }

    /// Store the record of a node that runs an agent. Checks others put on the node (maintenance, registered ones) stay.
    pub(super) fn put_agent_node(&mut self, mut node: CatalogNode) {
        if let Some(old) = self.s.catalog_nodes.get(&node.name) {
            for (id, check) in &old.checks {
                node.checks.entry(id.clone()).or_insert_with(|| check.clone());
            }
        }
        self.put_catalog_node(node);
    }

    /// Store a node record; a change of it, or of its checks, concerns every service with an instance on it.
    pub(super) fn put_catalog_node(&mut self, mut node: CatalogNode) {
        let old = self.s.catalog_nodes.get(&node.name).cloned();
        node.create_index = old.as_ref().map_or(self.index, |o| o.create_index);
        let moved = stamp_checks(&mut node.checks, old.as_ref().map(|o| &o.checks), self.index);
        if let Some(o) = &old {
            node.modify_index = o.modify_index;
            if *o.as_ref() == node {
                return;
            }
        }
        node.modify_index = self.index;
        let name = node.name.clone();
        self.s.catalog_nodes.insert(name.clone(), Arc::new(node));
        self.touch_catalog_node(&name);
        if moved {
            self.s.tables.checks = self.index;
            self.touch(Topic::Checks);
        }
        let services: Vec<_> = self.s.instances_on(&name).map(|i| i.service.clone()).collect();
        for service in services {
            self.touch_service(&service);
        }
    }

    pub(super) fn forget_catalog_node(&mut self, name: &NodeName) {
        let instances: Vec<_> = self.s.instances_on(name).cloned().collect();
        for instance in instances {
            self.drop_instance(&instance);
        }
        if self.s.catalog_nodes.remove(name).is_some() {
            self.s.tables.node_extinction = self.index;
            self.s.tables.checks = self.index;
            self.s.node_service_indexes.remove(name);
            self.touch(Topic::Checks);
            self.touch_catalog_node(name);
        }
    }

    fn put_instance(&mut self, mut instance: Instance) {
        let key = (instance.node.clone(), instance.id.clone());
        let entry = self.s.services.get(&instance.service).cloned().unwrap_or_default();
        let old = entry.instances.get(&key).cloned();
        instance.create_index = old.as_ref().map_or(self.index, |o| o.create_index);
        let moved = stamp_checks(&mut instance.checks, old.as_ref().map(|o| &o.checks), self.index);
        if let Some(o) = &old {
            instance.modify_index = o.modify_index;
            if *o.as_ref() == instance {
                return;
            }
        }
        instance.modify_index = self.index;
        // Checks are shown with the tags of their service, and watched for them.
        let tags_moved = !instance.checks.is_empty() && old.is_some_and(|o| o.tags != instance.tags);
        if moved || tags_moved {
            self.s.tables.checks = self.index;
            self.touch(Topic::Checks);
        }
        let (name, node) = (instance.service.clone(), instance.node.clone());
        self.s.instances_by_node.insert((key.0.clone(), key.1.clone(), name.clone()));
        let mut entry = entry;
        entry.instances.insert(key, Arc::new(instance));
        self.s.services.insert(name.clone(), entry);
        self.touch_service(&name);
        self.touch_services_of(&node);
    }

    fn drop_instance(&mut self, instance: &Instance) {
        let key = (instance.node.clone(), instance.id.clone());
        self.s.instances_by_node.remove(&(key.0.clone(), key.1.clone(), instance.service.clone()));
        if !instance.checks.is_empty() {
            self.s.tables.checks = self.index;
            self.touch(Topic::Checks);
        }
        let Some(mut entry) = self.s.services.get(&instance.service).cloned() else { return };
        entry.instances.remove(&key);
        if entry.instances.is_empty() {
            self.s.services.remove(&instance.service);
            self.s.tables.service_extinction = self.index;
        } else {
            self.s.services.insert(instance.service.clone(), entry);
        }
        self.touch_service(&instance.service);
        self.touch_services_of(&instance.node);
    }

    /// Bring the instances derived from an allocation in line with it.
    pub(super) fn sync_services(&mut self, alloc: &Alloc) {
        let job = self.s.job_of(alloc).cloned();
        let node = self.s.nodes.get(&alloc.node).cloned();
        let wanted = match (job, node) {
            (Some(job), Some(node)) => derive::live(&job, alloc, &node),
            _ => Vec::new(),
        };
        let had = self.s.instances_by_alloc.get(&alloc.id).cloned().unwrap_or_default();
        let has: Vec<_> = wanted.iter().map(|i| (i.service.clone(), i.id.clone())).collect();
        let node = NodeName::from(alloc.node_name.as_str());
        for gone in had.iter().filter(|h| !has.contains(h)) {
            self.drop_by_key(&node, gone);
        }
        for instance in wanted {
            self.put_instance(instance);
        }
        if has.is_empty() {
            self.s.instances_by_alloc.remove(&alloc.id);
        } else if has != had {
            self.s.instances_by_alloc.insert(alloc.id, has);
        }
    }

    pub(super) fn drop_services(&mut self, alloc: AllocId) {
        let Some(had) = self.s.instances_by_alloc.remove(&alloc) else { return };
        let Some(node) = self.s.allocs.get(&alloc).map(|a| NodeName::from(a.node_name.as_str())) else { return };
        for gone in &had {
            self.drop_by_key(&node, gone);
        }
    }

    fn drop_by_key(&mut self, node: &NodeName, (service, id): &(ServiceName, InstanceId)) {
        let old = self.s.services.get(service).and_then(|e| e.instances.get(&(node.clone(), id.clone()))).cloned();
        if let Some(old) = old {
            self.drop_instance(&old);
        }
    }

    fn touch_service(&mut self, name: &ServiceName) {
        self.s.tables.services = self.index;
        if let Some(mut entry) = self.s.services.get(name).cloned() {
            entry.modify_index = self.index;
            self.s.services.insert(name.clone(), entry);
        }
        self.touch(Topic::Services);
        self.touch(Topic::Service(name.clone()));
    }

    /// What runs on a node changed: its own readers look again, those of the list of nodes do not.
    fn touch_services_of(&mut self, node: &NodeName) {
        if self.s.catalog_nodes.contains_key(node) {
            self.s.node_service_indexes.insert(node.clone(), self.index);
        }
        self.touch(Topic::CatalogNode(node.clone()));
    }

    fn touch_catalog_node(&mut self, name: &NodeName) {
        self.s.tables.catalog_nodes = self.index;
        self.touch(Topic::CatalogNodes);
        self.touch(Topic::CatalogNode(name.clone()));
    }
}

/// What an allocation brought comes and goes with it, whatever is said about it elsewhere.
fn refuse_allocs(instance: &Instance) -> Result<(), Rejected> {
    match instance.source {
        Source::Alloc(alloc) => Err(Rejected::Conflict(format!(
            "service instance \"{}\" belongs to allocation {alloc}; stop its job to remove it",
            instance.id
        ))),
        _ => Ok(()),
    }
}

/// Give checks their indexes: unchanged ones keep theirs. True when any changed, came or went.
fn stamp_checks(checks: &mut BTreeMap<CheckId, Check>, old: Option<&BTreeMap<CheckId, Check>>, index: Index) -> bool {
    let mut moved = old.map_or(!checks.is_empty(), |o| o.len() != checks.len());
    for (id, check) in checks.iter_mut() {
        let before = old.and_then(|o| o.get(id));
        check.create_index = before.map_or(index, |b| b.create_index);
        check.modify_index = before.map_or(index, |b| b.modify_index);
        if before != Some(check) {
            check.modify_index = index;
            moved = true;
        }
    }
    moved
}
