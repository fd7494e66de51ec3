//! What a commit touched: the topics waiting readers subscribe to.

use crate::id::{AllocId, DeploymentId, EvalId, JobId, NodeId, NodeName, ServiceName};

/// A thing a reader can wait for. One commit touches a set of them; a waiter is woken only for its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Jobs,
    Job(JobId),
    Allocs,
    Alloc(AllocId),
    /// Allocations of one job.
    JobAllocs(JobId),
    /// Allocations of one node: what its client follows.
    NodeAllocs(NodeId),
    Evals,
    Eval(EvalId),
    Deployments,
    Deployment(DeploymentId),
    Nodes,
    Node(NodeId),
    /// Any service instance or service check.
    Services,
    Service(ServiceName),
    /// Any catalog node or node check.
    CatalogNodes,
    CatalogNode(NodeName),
    /// Any check.
    Checks,
    Kv,
    Key(String),
    Sessions,
    /// Load balancers came, went or acknowledged.
    LoadBalancers,
}
