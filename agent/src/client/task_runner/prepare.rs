//! From a task of the job to a running one: directories, environment, the intent in the journal, the start.

use model::{
    alloc::TaskPhase,
    job::{Group, Task},
    resource::{Network, NetworkMode},
};

use super::{
    super::{Error, clock, environment, events, journal::Phase, view::View},
    TaskRunner,
};
use crate::driver::{Dns, Handle, Mount, TaskSpec, raw_exec};

impl TaskRunner {
    pub(super) async fn start(&mut self) -> Result<Handle, Error> {
        if self.record.state.started_at.is_zero() {
            self.note(events::setup("Building Task Directory")).await;
        }
        let view = self.shared.view();
        let group = view.group().ok_or_else(|| Error::Task("its task group is not in the job any more".into()))?;
        let task = group.task(&self.key.task).ok_or_else(|| Error::Task("it is not in the job any more".into()))?;
        // Rises over restarts, and over journals that were lost.
        let run = (self.record.run + 1).max(clock::now().0 / 1_000_000);
        let spec = self.spec(&view, group, task, run)?;
        self.record.run = run;
        self.record.driver = self.driver.name().to_owned();
        self.record.phase = Phase::Intent(run);
        // Not started unless this is on disk: otherwise a killed agent could start it twice.
        self.shared.services.journal.put(&self.key, &self.record).await?;
        let started = self.driver.start(&spec).await;
        let handle = match started {
            Ok(handle) => handle,
            Err(e) => {
                self.record.phase = Phase::Idle;
                return Err(e.into());
            }
        };
        let kept = handle.clone();
        self.change(|r| {
            r.phase = Phase::Running(kept);
            r.state.phase = TaskPhase::Running;
            r.state.failed = false;
            r.state.started_at = clock::now();
            events::push(&mut r.state, events::started());
        })
        .await;
        Ok(handle)
    }

    fn spec(&self, view: &View, group: &Group, task: &Task, run: u64) -> Result<TaskSpec, Error> {
        let io = |source| Error::Io { action: format!("create the directories of task {:?}", task.name), source };
        let dirs = self.shared.dir.create(&task.name, &task.user).map_err(io)?;
        let seen = self.driver.seen_dirs(&dirs);
        // A container brings its own PATH and HOME.
        let inherit = self.driver.name() == raw_exec::NAME;
        let mapped = self.driver.container_ports(&task.config);
        let vars = environment::variables(view, task, &seen, inherit, &mapped);
        let config = environment::config(task, &vars);
        let network = task.resources.network.as_ref().or_else(|| group.networks.first());
        let given = view.alloc.resources.tasks.get(&task.name).cloned().unwrap_or_default();
        Ok(TaskSpec {
            key: self.key.clone(),
            run,
            config,
            user: vars.fill(&task.user),
            dirs,
            logs: task.logs.clone(),
            given,
            ports: view.alloc.resources.ports.clone(),
            network: mode(group, task)?,
            dns: network.map(|n| dns(n, &vars)).unwrap_or_default(),
            mounts: self.mounts(group, task)?,
            env: vars.env,
        })
    }

    fn mounts(&self, group: &Group, task: &Task) -> Result<Vec<Mount>, Error> {
        if !task.volume_mounts.is_empty() && !self.driver.mounts() {
            return Err(Error::Task(format!(
                "driver {:?} cannot show volumes to a task; use docker, or the host path itself",
                task.driver
            )));
        }
        let find = |m: &model::job::VolumeMount| {
            let request = group.volumes.get(&m.volume).ok_or_else(|| {
                Error::Task(format!("volume_mount names volume {:?}, which the group does not have", m.volume))
            })?;
            if request.kind != "host" {
                return Err(Error::Task(format!(
                    "volume {:?} is of type {:?}; only host volumes are built",
                    m.volume, request.kind
                )));
            }
            let (path, fixed) = self
                .shared
                .services
                .config
                .host_volumes
                .get(&request.source)
                .ok_or_else(|| Error::Task(format!("this node has no host volume {:?}", request.source)))?;
            Ok(Mount {
                host: path.clone(),
                destination: m.destination.clone(),
                read_only: *fixed || request.read_only || m.read_only,
            })
        };
        task.volume_mounts.iter().map(find).collect()
    }
}

fn mode(group: &Group, task: &Task) -> Result<NetworkMode, Error> {
    let wanted = group.networks.first().filter(|_| task.resources.network.is_none()).map(|n| n.mode.clone());
    match wanted.unwrap_or_default() {
        m @ (NetworkMode::Host | NetworkMode::None) => Ok(m),
        NetworkMode::Bridge => {
            Err(Error::Task("network mode \"bridge\" is not built; use \"host\", or docker's network_mode".into()))
        }
        NetworkMode::Cni(name) => Err(Error::Task(format!("network mode \"cni/{name}\" is not built; use \"host\""))),
    }
}

fn dns(n: &Network, vars: &model::interpolate::Variables) -> Dns {
    let fill = |l: &[String]| l.iter().map(|s| vars.fill(s)).collect();
    Dns {
        hostname: vars.fill(&n.hostname),
        servers: fill(&n.dns_servers),
        searches: fill(&n.dns_searches),
        options: fill(&n.dns_options),
    }
}
