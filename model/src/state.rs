//! The replicated state: persistent ordered maps, cloned in nanoseconds, changed only by `apply`.
//!
//! Owns every table and its indexes; files below own one family of commands each. Readers hold a snapshot and never a
//! lock. Iteration order is key order, so two replicas fed the same log are byte-equal.
//!
//! ```text
//!  apply(index, command) ─► jobs.rs nodes.rs evals.rs plans.rs allocs.rs deployments.rs catalog.rs kv.rs balancers.rs
//!                                                          └── derive.rs: allocation ─► service instances
//! ```

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    alloc::Alloc,
    catalog::{CatalogNode, ServiceEntry},
    command::{Applied, Command, Rejected, Reply},
    deployment::Deployment,
    eval::{Eval, Trigger},
    id::{AllocId, DeploymentId, EvalId, Index, InstanceId, LbId, NodeId, NodeName, ServiceName, SessionId},
    job::{Job, JobKey, JobKind},
    kv::{KvEntry, Session},
    node::Node,
    time::Timestamp,
    topic::Topic,
};

mod allocs;
mod balancers;
mod catalog;
mod deployments;
pub mod derive;
mod evals;
mod jobs;
mod kv;
mod nodes;
mod plans;
mod query;
pub mod snapshot;
#[cfg(test)]
mod tests;

pub use balancers::LoadBalancer;
pub use nodes::NODE_CHECK;

/// How many old versions of a job are kept beside those that live allocations still run.
pub const VERSIONS_KEPT: usize = 6;

/// The index at which each table last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableIndexes {
    pub jobs: Index,
    pub nodes: Index,
    pub allocs: Index,
    pub evals: Index,
    pub deployments: Index,
    pub services: Index,
    pub catalog_nodes: Index,
    pub checks: Index,
    pub kv: Index,
    pub sessions: Index,
    /// The newest deletion of a key that is no longer remembered by itself.
    pub kv_forgotten: Index,
    /// When a service's last instance last went; keeps the index of empty answers from going back.
    pub service_extinction: Index,
    pub node_extinction: Index,
}

/// Everything the cluster agreed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last applied entry.
    pub index: Index,
    pub tables: TableIndexes,
    pub jobs: OrdMap<JobKey, Arc<Job>>,
    pub job_versions: OrdMap<(JobKey, u64), Arc<Job>>,
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    pub allocs: OrdMap<AllocId, Arc<Alloc>>,
    pub allocs_by_job: OrdSet<(JobKey, AllocId)>,
    pub allocs_by_node: OrdSet<(NodeId, AllocId)>,
    pub evals: OrdMap<EvalId, Arc<Eval>>,
    pub evals_by_job: OrdSet<(JobKey, EvalId)>,
    pub deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    pub deployments_by_job: OrdSet<(JobKey, DeploymentId)>,
    pub catalog_nodes: OrdMap<NodeName, Arc<CatalogNode>>,
    pub services: OrdMap<ServiceName, ServiceEntry>,
    pub instances_by_node: OrdSet<(NodeName, InstanceId, ServiceName)>,
    /// When the instances of a node last changed.
    pub node_service_indexes: OrdMap<NodeName, Index>,
    /// Where the instances derived from an allocation are.
    pub instances_by_alloc: OrdMap<AllocId, Vec<(ServiceName, InstanceId)>>,
    pub kv: OrdMap<Arc<str>, Arc<KvEntry>>,
    /// Deleted keys and when: keeps the index of prefixes from going back.
    pub kv_tombstones: OrdMap<Arc<str>, Index>,
    pub sessions: OrdMap<SessionId, Arc<Session>>,
    /// Keys that may not be locked before this time.
    pub lock_delays: OrdMap<Arc<str>, Timestamp>,
    pub balancers: OrdMap<LbId, LoadBalancer>,
}

/// What applying one entry gave: the proposer's reply and the topics to wake.
#[derive(Debug)]
pub struct Outcome {
    pub reply: Result<Applied, Rejected>,
    pub touched: BTreeSet<Topic>,
}

impl State {
    /// Apply one entry. Deterministic; a refused command changes nothing but `index`.
    pub fn apply(&mut self, index: Index, command: Command) -> Outcome {
        let mut tx = Tx { s: self.clone(), index, touched: BTreeSet::new(), evals_made: 0, evaluated: BTreeSet::new() };
        let reply = tx.run(command);
        let touched = match reply {
            Ok(_) => {
                *self = tx.s;
                tx.touched
            }
            Err(_) => BTreeSet::new(),
        };
        self.index = index;
        Outcome { reply: reply.map(|reply| Applied { index, reply }), touched }
    }

    /// Note an entry that changes nothing (a blank or membership entry of the log).
    pub fn skip(&mut self, index: Index) {
        self.index = index;
    }
}

/// One entry being applied: the state to be, and what it touched.
struct Tx {
    s: State,
    index: Index,
    touched: BTreeSet<Topic>,
    evals_made: u32,
    evaluated: BTreeSet<JobKey>,
}

impl Tx {
    fn run(&mut self, command: Command) -> Result<Reply, Rejected> {
        use Command as C;
        match command {
            C::JobRegister { job, eval, enforce_index, at } => self.job_register(*job, eval, enforce_index, at),
            C::JobDeregister { job, purge, eval, at } => self.job_deregister(&job, purge, eval, at),
            C::JobScale { job, group, count, eval, at } => self.job_scale(&job, &group, count, eval, at),
            C::JobStability { job, version, stable } => self.job_stability(&job, version, stable),
            C::NodeRegister { node, at } => self.node_register(*node, at),
            C::NodeStatus { node, status, description, at } => self.node_status(node, status, &description, at),
            C::NodeDrain { node, drain, mark_eligible, at } => self.node_drain(node, drain, mark_eligible, at),
            C::NodeEligibility { node, eligibility, at } => self.node_eligibility(node, eligibility, at),
            C::NodePurge { node, at } => self.node_purge(node, at),
            C::Evals { evals, at } => self.upsert_evals(evals, at),
            C::Plans(results) => self.plans(results),
            C::AllocReports { reports, at } => self.alloc_reports(reports, at),
            C::AllocTransitions { transitions, evals, at } => self.alloc_transitions(transitions, evals, at),
            C::DeploymentStatus { id, status, description, revert, eval, at } => {
                self.deployment_status(id, status, &description, revert, eval, at)
            }
            C::DeploymentPromote { id, groups, eval, at } => self.deployment_promote(id, &groups, eval, at),
            C::DeploymentHealth { id, healthy, unhealthy, eval, at } => {
                self.deployment_health(id, &healthy, &unhealthy, eval, at)
            }
            C::Gc { jobs, evals, allocs, deployments, nodes } => self.gc(&jobs, &evals, &allocs, &deployments, &nodes),
            C::CatalogRegister(registration) => self.catalog_register(*registration),
            C::CatalogDeregister { node, instance, check } => self.catalog_deregister(&node, instance, check),
            C::CheckVerdict { node, instance, check, verdict, output } => {
                self.check_verdict(&node, instance.as_ref(), &check, verdict, output)
            }
            C::Kv { ops, at } => self.kv(ops, at),
            C::SessionCreate { session } => self.session_create(session),
            C::SessionRenew { id, expires_at } => self.session_renew(id, expires_at),
            C::SessionDestroy { id, at } => self.session_destroy(id, at),
            C::LbRegister { id, node } => self.lb_register(id, node),
            C::LbDeregister { id } => self.lb_deregister(id),
            C::LbDrained { id, allocs } => self.lb_drained(id, &allocs),
        }
    }

    fn touch(&mut self, topic: Topic) {
        self.touched.insert(topic);
    }

    /// A pending evaluation made by this entry. Its id is a function of the entry's index, so replicas agree.
    fn make_eval(&mut self, job: &JobKey, kind: JobKind, priority: u8, trigger: Trigger, at: Timestamp) -> Eval {
        self.evals_made += 1;
        let name = format!("{}/{}", self.index.0, self.evals_made);
        let id = EvalId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()));
        Eval::pending(id, job.clone(), kind, priority, trigger, at)
    }

    /// Make and store an evaluation of a job, once per entry: a thousand reports in one entry are one reason to look.
    fn evaluate_job(&mut self, job: &JobKey, trigger: Trigger, node: Option<NodeId>, at: Timestamp) {
        let Some(spec) = self.s.jobs.get(job) else { return };
        if !self.evaluated.insert(job.clone()) {
            return;
        }
        let (kind, priority) = (spec.kind, spec.priority);
        let mut eval = self.make_eval(job, kind, priority, trigger, at);
        eval.node = node;
        self.put_eval(eval, at);
    }
}
