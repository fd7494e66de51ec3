//! Evaluations, and forgetting what is over.

use std::sync::Arc;

use super::Tx;
use crate::{
    command::{Rejected, Reply},
    eval::Eval,
    id::{AllocId, DeploymentId, EvalId, NodeId},
    job::{JobKey, JobStatus},
    time::Timestamp,
    topic::Topic,
};

impl Tx {
    pub(super) fn upsert_evals(&mut self, evals: Vec<Eval>, at: Timestamp) -> Result<Reply, Rejected> {
        for eval in evals {
            let job = eval.job.clone();
            self.put_eval(eval, at);
            self.refresh_job_status(&job);
        }
        Ok(Reply::Done)
    }

    pub(super) fn put_eval(&mut self, mut eval: Eval, at: Timestamp) {
        eval.create_index = self.s.evals.get(&eval.id).map_or(self.index, |old| old.create_index);
        eval.modify_index = self.index;
        eval.modified_at = at;
        self.s.evals_by_job.insert((eval.job.clone(), eval.id));
        self.touch_eval(eval.id);
        self.s.evals.insert(eval.id, Arc::new(eval));
    }

    fn touch_eval(&mut self, id: EvalId) {
        self.s.tables.evals = self.index;
        self.touch(Topic::Evals);
        self.touch(Topic::Eval(id));
    }

    pub(super) fn gc(
        &mut self,
        jobs: &[JobKey],
        evals: &[EvalId],
        allocs: &[AllocId],
        deployments: &[DeploymentId],
        nodes: &[NodeId],
    ) -> Result<Reply, Rejected> {
        // Whoever made the list read an older state: what has come to life since stays.
        for id in evals {
            if let Some(eval) = self.s.evals.get(id).filter(|e| e.status.terminal()).cloned() {
                self.s.evals.remove(id);
                self.s.evals_by_job.remove(&(eval.job.clone(), *id));
                self.touch_eval(*id);
            }
        }
        for id in allocs {
            if let Some(alloc) = self.s.allocs.get(id).filter(|a| a.client.terminal()).cloned() {
                self.forget_alloc(&alloc);
            }
        }
        for id in deployments {
            if let Some(d) = self.s.deployments.get(id).filter(|d| !d.status.active()).cloned() {
                self.s.deployments.remove(id);
                self.s.deployments_by_job.remove(&(d.job.clone(), *id));
                self.touch_deployment(*id);
            }
        }
        for key in jobs {
            if self.s.jobs.get(key).is_some_and(|j| j.status == JobStatus::Dead) {
                self.s.jobs.remove(key);
                self.touch_job(key);
            }
            self.prune_versions(key);
        }
        for id in nodes {
            if self.s.nodes.get(id).is_some_and(|n| n.lost()) {
                self.forget_node(*id);
            }
        }
        Ok(Reply::Done)
    }
}
