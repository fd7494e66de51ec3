//! Jobs: registration, versions, scaling, stopping, forgetting, and the status derived from what runs.

use std::sync::Arc;

use super::{Tx, VERSIONS_KEPT};
use crate::{
    command::{Noun, Rejected, Reply},
    eval::Eval,
    id::{GroupName, Index},
    job::{Job, JobKey, JobStatus},
    time::Timestamp,
    topic::Topic,
};

impl Tx {
    pub(super) fn job_register(
        &mut self,
        mut job: Job,
        eval: Option<Eval>,
        enforce_index: Option<Index>,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let key = job.key();
        let old = self.s.jobs.get(&key).cloned();
        check_index(old.as_deref(), enforce_index)?;
        let unchanged = match &old {
            Some(o) if !o.stop && o.same_spec(&job) => true,
            Some(o) => {
                job.version = o.version + 1;
                job.create_index = o.create_index;
                false
            }
            None => {
                // Versions outlive a purge while allocations run them; theirs must not be mistaken for the new job's.
                job.version = self.s.job_history(&key).first().map_or(0, |j| j.version + 1);
                job.create_index = self.index;
                false
            }
        };
        let (modify_index, version) = match old.filter(|_| unchanged) {
            Some(o) => (o.job_modify_index, o.version),
            None => {
                job.stop = false;
                job.stable = false;
                job.status = JobStatus::Pending;
                job.submit_time = at;
                job.job_modify_index = self.index;
                let version = job.version;
                self.put_job_version(job);
                (self.index, version)
            }
        };
        if let Some(mut eval) = eval {
            eval.create_index = self.index;
            self.put_eval(eval, at);
        }
        self.refresh_job_status(&key);
        Ok(Reply::Job { modify_index, version })
    }

    pub(super) fn job_deregister(
        &mut self,
        key: &JobKey,
        purge: bool,
        eval: Option<Eval>,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let job = self.s.jobs.get(key).cloned().ok_or(Rejected::NotFound(Noun::Job))?;
        if purge {
            self.s.jobs.remove(key);
            self.prune_versions(key);
            self.touch_job(key);
        } else if !job.stop {
            let mut next = Job::clone(&job);
            next.stop = true;
            next.version += 1;
            next.stable = false;
            next.submit_time = at;
            next.job_modify_index = self.index;
            self.put_job_version(next);
        }
        if let Some(eval) = eval {
            self.put_eval(eval, at);
        }
        self.refresh_job_status(key);
        Ok(Reply::Job { modify_index: self.index, version: job.version })
    }

    pub(super) fn job_scale(
        &mut self,
        key: &JobKey,
        group: &GroupName,
        count: u32,
        eval: Option<Eval>,
        at: Timestamp,
    ) -> Result<Reply, Rejected> {
        let job = self.s.jobs.get(key).cloned().ok_or(Rejected::NotFound(Noun::Job))?;
        if job.stop {
            return Err(Rejected::Invalid(format!("job \"{}\" is stopped; run it again before scaling it", key.id)));
        }
        let mut next = Job::clone(&job);
        let Some(target) = next.groups.iter_mut().find(|g| g.name == *group) else {
            return Err(Rejected::Invalid(format!("task group \"{group}\" does not exist in job")));
        };
        if let Some(scaling) = &target.scaling {
            let max = scaling.max.unwrap_or(u32::MAX);
            if count < scaling.min {
                return Err(Rejected::Invalid(format!(
                    "group count was less than scaling policy minimum: {count} < {}",
                    scaling.min
                )));
            }
            if count > max {
                return Err(Rejected::Invalid(format!(
                    "group count was greater than scaling policy maximum: {count} > {max}"
                )));
            }
        }
        target.count = count;
        self.job_register(next, eval, None, at)
    }

    pub(super) fn job_stability(&mut self, key: &JobKey, version: u64, stable: bool) -> Result<Reply, Rejected> {
        let stored = self.s.job_version(key, version).cloned().ok_or(Rejected::NotFound(Noun::JobVersion))?;
        let mut next = Job::clone(&stored);
        next.stable = stable;
        next.modify_index = self.index;
        let next = Arc::new(next);
        self.s.job_versions.insert((key.clone(), version), Arc::clone(&next));
        if self.s.jobs.get(key).is_some_and(|j| j.version == version) {
            self.s.jobs.insert(key.clone(), next);
        }
        self.touch_job(key);
        Ok(Reply::Done)
    }

    /// Store a new version as the current one, and let go of versions nobody needs.
    fn put_job_version(&mut self, mut job: Job) {
        job.modify_index = self.index;
        let key = job.key();
        let job = Arc::new(job);
        self.s.job_versions.insert((key.clone(), job.version), Arc::clone(&job));
        self.s.jobs.insert(key.clone(), job);
        self.prune_versions(&key);
        self.touch_job(&key);
    }

    /// Keep the newest versions, the newest stable one, and those that allocations run.
    pub(super) fn prune_versions(&mut self, key: &JobKey) {
        let history = self.s.job_history(key);
        let known = self.s.jobs.contains_key(key);
        if known && history.len() <= VERSIONS_KEPT {
            return;
        }
        let stable = history.iter().find(|j| j.stable).map(|j| j.version);
        for (age, job) in history.iter().enumerate() {
            let kept = known && (age <= VERSIONS_KEPT || stable == Some(job.version));
            if !kept && !self.s.allocs_of_job(key).any(|a| a.job_version == job.version) {
                self.s.job_versions.remove(&(key.clone(), job.version));
            }
        }
    }

    /// Derive pending, running or dead from the job's allocations and evaluations.
    pub(super) fn refresh_job_status(&mut self, key: &JobKey) {
        let Some(job) = self.s.jobs.get(key).cloned() else { return };
        let alive = self.s.allocs_of_job(key).any(|a| !a.client.terminal());
        let status = if job.stop && !alive {
            JobStatus::Dead
        } else if alive || (job.is_template() && !job.stop) {
            JobStatus::Running
        } else if job.kind.per_node() && !job.stop {
            // A system job waits for nodes.
            if job.kind.runs_to_completion() && self.s.allocs_of_job(key).next().is_some() {
                JobStatus::Dead
            } else {
                JobStatus::Pending
            }
        } else if self.s.evals_of_job(key).any(|e| !e.status.terminal()) || self.s.allocs_of_job(key).next().is_none() {
            JobStatus::Pending
        } else {
            JobStatus::Dead
        };
        if status == job.status {
            return;
        }
        let mut next = Job::clone(&job);
        next.status = status;
        next.modify_index = self.index;
        let next = Arc::new(next);
        self.s.job_versions.insert((key.clone(), next.version), Arc::clone(&next));
        self.s.jobs.insert(key.clone(), next);
        self.touch_job(key);
    }

    pub(super) fn touch_job(&mut self, key: &JobKey) {
        self.s.tables.jobs = self.index;
        self.touch(Topic::Jobs);
        self.touch(Topic::Job(key.id.clone()));
    }
}

/// The guard of `job run -check-index`.
fn check_index(old: Option<&Job>, enforce: Option<Index>) -> Result<(), Rejected> {
    let Some(wanted) = enforce else { return Ok(()) };
    match (old, wanted.0) {
        (None, 0) => Ok(()),
        (None, n) => Err(Rejected::Conflict(format!("Enforcing job modify index {n}: job does not exist"))),
        (Some(j), 0) => Err(Rejected::Conflict(format!(
            "Enforcing job modify index 0: job already exists with modify index {}",
            j.job_modify_index
        ))),
        (Some(j), n) if j.job_modify_index.0 == n => Ok(()),
        (Some(j), n) => Err(Rejected::Conflict(format!(
            "Enforcing job modify index {n}: job exists with conflicting job modify index: {}",
            j.job_modify_index
        ))),
    }
}
