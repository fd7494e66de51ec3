//! The commands that change the state, and what applying one gives.
//!
//! Entries on disk hold these as postcard: append variants and never reorder fields without raising
//! [`FORMAT`]. Everything that is not a function of the log (ids, times) is inside the command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    alloc::{AllocReport, Transition},
    catalog::{CatalogNode, Check, Instance},
    check::Verdict,
    deployment::DeploymentStatus,
    eval::Eval,
    id::{AllocId, CheckId, DeploymentId, EvalId, GroupName, Index, InstanceId, LbId, NodeId, NodeName, SessionId},
    job::{Job, JobKey},
    kv::{KvOp, Session},
    node::{Drain, Eligibility, Node, NodeStatus},
    plan::PlanResult,
    time::Timestamp,
};

/// The version byte in front of every encoded command and snapshot.
pub const FORMAT: u8 = 1;

/// A change. `at` is the proposer's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Upsert a job. `eval` is absent for templates (periodic, parameterized).
    JobRegister {
        job: Box<Job>,
        eval: Option<Eval>,
        enforce_index: Option<Index>,
        at: Timestamp,
    },
    /// Stop a job; with `purge` forget it.
    JobDeregister {
        job: JobKey,
        purge: bool,
        eval: Option<Eval>,
        at: Timestamp,
    },
    /// Change one group's count; a new job version.
    JobScale {
        job: JobKey,
        group: GroupName,
        count: u32,
        eval: Option<Eval>,
        at: Timestamp,
    },
    JobStability {
        job: JobKey,
        version: u64,
        stable: bool,
    },

    /// Upsert a node. `apply` itself creates the evaluations of jobs whose placement a node change may move.
    NodeRegister {
        node: Box<Node>,
        at: Timestamp,
    },
    NodeStatus {
        node: NodeId,
        status: NodeStatus,
        description: String,
        at: Timestamp,
    },
    NodeDrain {
        node: NodeId,
        drain: Option<Drain>,
        mark_eligible: bool,
        at: Timestamp,
    },
    NodeEligibility {
        node: NodeId,
        eligibility: Eligibility,
        at: Timestamp,
    },
    NodePurge {
        node: NodeId,
        at: Timestamp,
    },

    Evals {
        evals: Vec<Eval>,
        at: Timestamp,
    },
    /// Many plans in one entry; each was checked against the state the one before it leaves.
    Plans(Vec<PlanResult>),

    /// Clients report; `apply` itself creates the evaluations of jobs whose allocation ended or failed.
    AllocReports {
        reports: Vec<AllocReport>,
        at: Timestamp,
    },
    AllocTransitions {
        transitions: BTreeMap<AllocId, Transition>,
        evals: Vec<Eval>,
        at: Timestamp,
    },

    /// Set a deployment's status; `revert` registers an older job version in the same commit.
    DeploymentStatus {
        id: DeploymentId,
        status: DeploymentStatus,
        description: String,
        revert: Option<Box<Job>>,
        eval: Option<Eval>,
        at: Timestamp,
    },
    /// Promote canaries; `groups` empty = all.
    DeploymentPromote {
        id: DeploymentId,
        groups: Vec<GroupName>,
        eval: Eval,
        at: Timestamp,
    },
    /// Health set by hand.
    DeploymentHealth {
        id: DeploymentId,
        healthy: Vec<AllocId>,
        unhealthy: Vec<AllocId>,
        eval: Option<Eval>,
        at: Timestamp,
    },

    /// Forget what is over and old.
    Gc {
        jobs: Vec<JobKey>,
        evals: Vec<EvalId>,
        allocs: Vec<AllocId>,
        deployments: Vec<DeploymentId>,
        nodes: Vec<NodeId>,
    },

    /// `catalog/register`, `agent/service/register`, `agent/check/register`.
    CatalogRegister(Box<CatalogRegistration>),
    /// Remove an instance, a check, or with neither the node.
    CatalogDeregister {
        node: NodeName,
        instance: Option<InstanceId>,
        check: Option<CheckId>,
    },
    /// A check of the catalog (not of an allocation) changed its verdict.
    CheckVerdict {
        node: NodeName,
        instance: Option<InstanceId>,
        check: CheckId,
        verdict: Verdict,
        output: String,
    },

    /// All or nothing.
    Kv {
        ops: Vec<KvOp>,
        at: Timestamp,
    },
    SessionCreate {
        session: Session,
    },
    SessionRenew {
        id: SessionId,
        expires_at: Timestamp,
    },
    SessionDestroy {
        id: SessionId,
        at: Timestamp,
    },

    /// A load balancer begins (or goes on) to follow the catalog.
    LbRegister {
        id: LbId,
        node: String,
    },
    /// It is gone: nobody waits for it any more.
    LbDeregister {
        id: LbId,
    },
    /// It picks these leaving allocations no more, and its requests to them are done.
    LbDrained {
        id: LbId,
        allocs: Vec<AllocId>,
    },
}

/// A registration through the catalog or agent API. Parts that are `None` or empty stay as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogRegistration {
    pub node: CatalogNode,
    /// Do not touch an existing node record.
    pub skip_node_update: bool,
    pub instance: Option<Instance>,
    /// The instance's checks replace the ones it had, instead of being added.
    pub replace_checks: bool,
    /// Checks with the instance they belong to; `None` = the node.
    pub checks: Vec<(Option<InstanceId>, Check)>,
}

/// What an applied command gives back to its proposer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    pub index: Index,
    pub reply: Reply,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    /// `JobModifyIndex` and version after a registration.
    Job {
        modify_index: Index,
        version: u64,
    },
    /// Whether a guarded write took place, and for a failed transaction the number of the first failing operation.
    Kv {
        written: bool,
        failed_op: Option<u32>,
    },
}

/// The state refused a command; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejected {
    #[error("{0} not found")]
    NotFound(Noun),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Conflict(String),
}

/// What was not found, in the words clients match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Noun {
    Job,
    JobVersion,
    Alloc,
    Eval,
    Node,
    Deployment,
    Session,
    Check,
    Service,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::JobVersion => "job version",
            Self::Alloc => "alloc",
            Self::Eval => "eval",
            Self::Node => "node",
            Self::Deployment => "deployment",
            Self::Session => "session",
            Self::Check => "check",
            Self::Service => "service",
        })
    }
}
