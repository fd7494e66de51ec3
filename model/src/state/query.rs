//! Reads that more than one component needs; each is a lookup or a range, never a scan of a whole table.

use std::sync::Arc;

use super::State;
use crate::{
    alloc::Alloc,
    catalog::{CatalogNode, Instance, ServiceEntry},
    check::Verdict,
    deployment::Deployment,
    eval::Eval,
    id::{AllocId, DeploymentId, EvalId, InstanceId, NodeId, NodeName},
    job::{Job, JobKey},
    node::Node,
};

const FIRST: uuid::Uuid = uuid::Uuid::nil();
const LAST: uuid::Uuid = uuid::Uuid::max();

impl State {
    #[must_use]
    pub fn job(&self, key: &JobKey) -> Option<&Arc<Job>> {
        self.jobs.get(key)
    }

    #[must_use]
    pub fn job_version(&self, key: &JobKey, version: u64) -> Option<&Arc<Job>> {
        self.job_versions.get(&(key.clone(), version))
    }

    /// The specification an allocation runs.
    #[must_use]
    pub fn job_of(&self, alloc: &Alloc) -> Option<&Arc<Job>> {
        self.job_version(&alloc.job, alloc.job_version)
    }

    /// Stored versions of a job, newest first.
    #[must_use]
    pub fn job_history(&self, key: &JobKey) -> Vec<Arc<Job>> {
        let mut all: Vec<_> =
            self.job_versions.range((key.clone(), 0)..=(key.clone(), u64::MAX)).map(|(_, j)| Arc::clone(j)).collect();
        all.reverse();
        all
    }

    pub fn allocs_of_job<'a>(&'a self, key: &JobKey) -> impl Iterator<Item = &'a Arc<Alloc>> + use<'a> {
        self.allocs_by_job
            .range((key.clone(), AllocId(FIRST))..=(key.clone(), AllocId(LAST)))
            .filter_map(|(_, id)| self.allocs.get(id))
    }

    pub fn allocs_on_node(&self, node: NodeId) -> impl Iterator<Item = &Arc<Alloc>> {
        self.allocs_by_node
            .range((node, AllocId(FIRST))..=(node, AllocId(LAST)))
            .filter_map(|(_, id)| self.allocs.get(id))
    }

    pub fn evals_of_job<'a>(&'a self, key: &JobKey) -> impl Iterator<Item = &'a Arc<Eval>> + use<'a> {
        self.evals_by_job
            .range((key.clone(), EvalId(FIRST))..=(key.clone(), EvalId(LAST)))
            .filter_map(|(_, id)| self.evals.get(id))
    }

    pub fn deployments_of_job<'a>(&'a self, key: &JobKey) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
        self.deployments_by_job
            .range((key.clone(), DeploymentId(FIRST))..=(key.clone(), DeploymentId(LAST)))
            .filter_map(|(_, id)| self.deployments.get(id))
    }

    /// The newest deployment of a job.
    #[must_use]
    pub fn latest_deployment(&self, key: &JobKey) -> Option<&Arc<Deployment>> {
        self.deployments_of_job(key).max_by_key(|d| (d.create_index, d.id))
    }

    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    #[must_use]
    pub fn catalog_node(&self, name: &str) -> Option<&Arc<CatalogNode>> {
        self.catalog_nodes.get(name)
    }

    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceEntry> {
        self.services.get(name)
    }

    /// Instances of a node.
    pub fn instances_on<'a>(&'a self, node: &NodeName) -> impl Iterator<Item = &'a Arc<Instance>> {
        let from = (node.clone(), InstanceId::from(""), crate::id::ServiceName::from(""));
        let wanted = node.clone();
        self.instances_by_node
            .range(from..)
            .take_while(move |(n, _, _)| *n == wanted)
            .filter_map(|(n, id, service)| self.services.get(service)?.instances.get(&(n.clone(), id.clone())))
    }

    /// One instance by node and id.
    #[must_use]
    pub fn instance(&self, node: &NodeName, id: &InstanceId) -> Option<&Arc<Instance>> {
        let from = (node.clone(), id.clone(), crate::id::ServiceName::from(""));
        let (n, i, service) = self.instances_by_node.range(from..).next()?;
        if n != node || i != id {
            return None;
        }
        self.services.get(service)?.instances.get(&(n.clone(), i.clone()))
    }

    /// The verdict that decides whether an instance is used: the worst of its own checks and its node's.
    #[must_use]
    pub fn verdict_of(&self, instance: &Instance) -> Verdict {
        let node = self.catalog_nodes.get(&instance.node).map_or(Verdict::Critical, |n| n.verdict());
        node.max(instance.verdict())
    }

    /// The address clients connect to: the instance's own, or its node's.
    #[must_use]
    pub fn address_of<'a>(&'a self, instance: &'a Instance) -> &'a str {
        if instance.address.is_empty() {
            self.catalog_nodes.get(&instance.node).map_or("", |n| n.address.as_str())
        } else {
            &instance.address
        }
    }
}
