//! The `docker` driver: tasks as containers of the engine on this machine.
//!
//! Owns: the container from its creation to its removal, its image, and its output in the same rotated files as every
//! other driver's. Containers carry labels (owner, allocation, task, run), so a later agent finds them again.
//!
//! ```text
//!  config.rs   the `config` block        engine.rs   connection, version, errors in plain words
//!  create.rs   block + task ─► request   image.rs    present, pulled, or why not      output.rs  logs ─► files
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    models::ContainerInspectResponse,
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, StatsOptionsBuilder,
    },
};
use futures_util::StreamExt;
use model::{driver_config::Value, node::DriverInfo};
use nix::sys::signal::Signal;
use tracing::{debug, info, warn};

use super::{Detail, Dirs, Driver, Error, Exit, Handle, LogTarget, SeenDirs, TaskKey, TaskSpec, Usage};

mod config;
mod create;
mod engine;
mod image;
mod output;
#[cfg(test)]
mod tests;

pub use config::ContainerConfig;
use engine::{Engine, status};
use output::Followers;

pub const NAME: &str = "docker";
/// How long a container that the engine lists as running may take to end after SIGKILL.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The most output of an exec that is kept.
const OUTPUT_MAX: usize = 64 * 1024;

/// Names of the labels on every container of ours.
pub mod label {
    pub const OWNER: &str = "trine.owner";
    pub const ALLOC: &str = "trine.alloc_id";
    pub const TASK: &str = "trine.task";
    pub const RUN: &str = "trine.run";
    /// What tools made for Nomad look for.
    pub const NOMAD_ALLOC: &str = "com.hashicorp.nomad.alloc_id";
}

#[derive(Clone, Debug)]
pub struct Config {
    /// `unix:///var/run/docker.sock` when empty.
    pub endpoint: String,
    /// Host paths outside the allocation may be mounted.
    pub volumes_enabled: bool,
    /// `privileged`, and capabilities beyond docker's own, may be asked for.
    pub allow_privileged: bool,
    pub pull_timeout: Duration,
    /// Tells the containers of this agent from another's: its node id.
    pub owner: String,
    /// How far each container's output was written.
    pub state_dir: PathBuf,
}

#[derive(Debug)]
pub struct Docker {
    config: Config,
    engine: Engine,
    images: image::Images,
    followers: Followers,
}

impl Docker {
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            engine: Engine::new(&config.endpoint),
            images: image::Images::new(config.pull_timeout),
            followers: Followers::new(config.state_dir.clone()),
            config,
        })
    }

    fn name(key: &TaskKey) -> String {
        // Docker allows fewer characters than jobs do.
        let task: String = key.task.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{task}-{}", key.alloc)
    }

    /// Our container of a task, if there is one, with its run.
    async fn existing(&self, key: &TaskKey) -> Result<Option<(ContainerInspectResponse, Option<u64>)>, Error> {
        let docker = self.engine.get().await?;
        match docker.inspect_container(&Self::name(key), None).await {
            Ok(found) => {
                let labels = found.config.as_ref().and_then(|c| c.labels.as_ref());
                let run = labels.and_then(|l| l.get(label::RUN)?.parse().ok());
                Ok(Some((found, run)))
            }
            Err(e) if status(&e) == Some(404) => Ok(None),
            Err(e) => Err(self.engine.explain("look for the container", &e)),
        }
    }

    fn handle(key: &TaskKey, run: u64, found: &ContainerInspectResponse) -> Option<Handle> {
        let labels = found.config.as_ref()?.labels.as_ref()?;
        let logs = labels.get("trine.logs").and_then(|l| serde_json::from_str(l).ok())?;
        let id = found.id.clone()?;
        Some(Handle { key: key.clone(), run, detail: Detail::Container { id, logs } })
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        let docker = self.engine.get().await?;
        let how = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match docker.remove_container(id, Some(how)).await {
            Ok(()) => Ok(()),
            // 409: somebody is removing it already.
            Err(e) if matches!(status(&e), Some(404 | 409)) => Ok(()),
            Err(e) => Err(self.engine.explain("remove the container", &e)),
        }
    }

    async fn inspect(&self, handle: &Handle) -> Result<ContainerInspectResponse, Error> {
        let docker = self.engine.get().await?;
        docker.inspect_container(id_of(handle)?, None).await.map_err(|e| match status(&e) {
            Some(404) => Error::Gone(handle.key.clone()),
            _ => self.engine.explain("look at the container", &e),
        })
    }

    fn follow(&self, handle: &Handle) {
        if let Detail::Container { id, logs } = &handle.detail {
            self.followers.follow(self.engine.clone(), id.clone(), logs.clone());
        }
    }
}

fn id_of(handle: &Handle) -> Result<&str, Error> {
    match &handle.detail {
        Detail::Container { id, .. } => Ok(id),
        _ => Err(Error::Gone(handle.key.clone())),
    }
}

fn runs(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|s| s.running).unwrap_or(false)
}

fn began(found: &ContainerInspectResponse) -> bool {
    let created = bollard::models::ContainerStateStatusEnum::CREATED;
    found.state.as_ref().and_then(|s| s.status).is_some_and(|s| s != created)
}

fn exit_of(found: &ContainerInspectResponse) -> Exit {
    let Some(state) = &found.state else {
        return Exit { code: -1, lost: Some("the engine does not tell".into()), ..Exit::default() };
    };
    let code = i32::try_from(state.exit_code.unwrap_or(-1)).unwrap_or(-1);
    let trouble = state.error.clone().filter(|e| !e.is_empty() && code != 0);
    if let Some(e) = trouble {
        debug!(error = %e, "container ended with an error");
    }
    Exit { code, out_of_memory: state.oom_killed.unwrap_or(false), ..Exit::default() }
}

#[async_trait]
impl Driver for Docker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_signal(&self) -> Signal {
        Signal::SIGTERM
    }

    fn mounts(&self) -> bool {
        true
    }

    async fn fingerprint(&self) -> DriverInfo {
        match self.engine.version().await {
            Ok(version) => {
                let mut attributes: BTreeMap<String, String> = BTreeMap::new();
                attributes.insert("driver.docker".into(), "1".into());
                attributes.insert("driver.docker.version".into(), version.version.unwrap_or_default());
                attributes.insert("driver.docker.os_type".into(), version.os.unwrap_or_default());
                attributes.insert("driver.docker.api_version".into(), version.api_version.unwrap_or_default());
                let word = |b: bool| if b { "true" } else { "false" }.to_owned();
                attributes.insert("driver.docker.volumes.enabled".into(), word(self.config.volumes_enabled));
                attributes.insert("driver.docker.privileged.enabled".into(), word(self.config.allow_privileged));
                DriverInfo {
                    detected: true,
                    healthy: true,
                    description: "Healthy".into(),
                    attributes,
                    ..DriverInfo::default()
                }
            }
            Err(e) => {
                DriverInfo { detected: false, healthy: false, description: e.to_string(), ..DriverInfo::default() }
            }
        }
    }

    fn validate(&self, config: &Value) -> Result<(), Error> {
        ContainerConfig::read(config).map(drop)
    }

    fn seen_dirs(&self, _: &Dirs) -> SeenDirs {
        SeenDirs { alloc: "/alloc".into(), local: "/local".into(), secrets: "/secrets".into() }
    }

    fn container_ports(&self, config: &Value) -> BTreeMap<String, u16> {
        ContainerConfig::read(config).map(|c| c.port_map).unwrap_or_default()
    }

    async fn start(&self, spec: &TaskSpec) -> Result<Handle, Error> {
        let config = ContainerConfig::read(&spec.config)?;
        config.allowed(&self.config)?;
        let body = create::request(spec, &config, &self.config)?;
        let docker = self.engine.get().await?;
        self.images.provide(&self.engine, &config).await?;
        if let Some((old, _)) = self.existing(&spec.key).await? {
            // A run that was given up half-way; the journal says that it is not the one we want.
            self.remove(old.id.as_deref().unwrap_or(&Self::name(&spec.key))).await?;
        }
        let name = Self::name(&spec.key);
        let how = CreateContainerOptionsBuilder::default().name(&name).build();
        let made = docker
            .create_container(Some(how), body)
            .await
            .map_err(|e| self.engine.explain(&format!("create the container of image {:?}", config.image), &e))?;
        for w in made.warnings {
            debug!(task = %spec.key, warning = %w, "the engine warns");
        }
        if let Err(e) = docker.start_container(&made.id, None).await {
            let told = self.engine.explain("start the container", &e);
            self.remove(&made.id).await?;
            return Err(told);
        }
        info!(task = %spec.key, container = %made.id, "container started");
        let detail = Detail::Container { id: made.id, logs: LogTarget::of(spec) };
        let handle = Handle { key: spec.key.clone(), run: spec.run, detail };
        self.follow(&handle);
        Ok(handle)
    }

    async fn find(&self, key: &TaskKey, run: Option<u64>) -> Result<Option<Handle>, Error> {
        let Some((found, its_run)) = self.existing(key).await? else { return Ok(None) };
        let wanted = its_run.filter(|r| run.is_none_or(|run| run == *r));
        if let Some(handle) = wanted.filter(|_| began(&found)).and_then(|r| Self::handle(key, r, &found)) {
            self.follow(&handle);
            return Ok(Some(handle));
        }
        // Created and never started, or of another run: nothing of it may come to run late.
        self.remove(found.id.as_deref().unwrap_or(&Self::name(key))).await?;
        Ok(None)
    }

    async fn recover(&self, handle: &Handle) -> Result<(), Error> {
        self.inspect(handle).await?;
        self.follow(handle);
        Ok(())
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, Error> {
        let id = id_of(handle)?;
        loop {
            match self.inspect(handle).await {
                Ok(found) if !runs(&found) => {
                    self.followers.finish(id).await;
                    return Ok(exit_of(&found));
                }
                Ok(_) => {
                    let docker = self.engine.get().await;
                    let ended = match docker {
                        Ok(docker) => matches!(
                            docker.wait_container(id, None).next().await,
                            Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. }))
                        ),
                        Err(_) => false,
                    };
                    if !ended {
                        // The engine went away, or hung up on a long wait.
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                }
                Err(Error::Gone(_)) => {
                    let lost = Some("exit status unknown: the container was removed by somebody else".to_owned());
                    return Ok(Exit { code: -1, lost, ..Exit::default() });
                }
                Err(e) => {
                    warn!(task = %handle.key, error = %e, "cannot tell whether the container runs; asking again");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<(), Error> {
        let docker = self.engine.get().await?;
        let how = KillContainerOptionsBuilder::default().signal(signal.as_str()).build();
        docker.kill_container(id_of(handle)?, Some(how)).await.map_err(|e| match status(&e) {
            Some(404 | 409) => Error::Gone(handle.key.clone()),
            _ => self.engine.explain("signal the container", &e),
        })
    }

    async fn kill(&self, handle: &Handle) -> Result<(), Error> {
        match self.signal(handle, Signal::SIGKILL).await {
            Err(Error::Gone(_)) => Ok(()),
            other => other,
        }
    }

    async fn destroy(&self, handle: &Handle) -> Result<(), Error> {
        let id = id_of(handle)?;
        self.followers.finish(id).await;
        self.remove(id).await?;
        self.followers.forget(id);
        Ok(())
    }

    async fn usage(&self, handle: &Handle) -> Result<Usage, Error> {
        let docker = self.engine.get().await?;
        let how = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let first = docker.stats(id_of(handle)?, Some(how)).next().await;
        let stats = match first {
            Some(Ok(stats)) => stats,
            Some(Err(e)) => return Err(self.engine.explain("measure the container", &e)),
            None => return Err(Error::Gone(handle.key.clone())),
        };
        let memory = stats.memory_stats.unwrap_or_default();
        let of = |name: &str| memory.stats.as_ref().and_then(|s| s.get(name).copied());
        let used = memory.usage.unwrap_or(0);
        Ok(Usage {
            cpu_ns: stats.cpu_stats.and_then(|c| c.cpu_usage?.total_usage).unwrap_or(0),
            memory_bytes: used,
            rss_bytes: of("rss").or_else(|| of("anon")).unwrap_or(used),
            pids: stats.pids_stats.and_then(|p| p.current).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        })
    }

    async fn exec(&self, handle: &Handle, command: &[String], timeout: Duration) -> Result<(i32, String), Error> {
        let docker = self.engine.get().await?;
        let explain = |e: bollard::errors::Error| self.engine.explain("run the command in the container", &e);
        let work = async {
            let options = CreateExecOptions {
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                cmd: Some(command.to_vec()),
                ..CreateExecOptions::default()
            };
            let made = docker.create_exec(id_of(handle)?, options).await.map_err(explain)?;
            let started = docker.start_exec(&made.id, None::<StartExecOptions>).await.map_err(explain)?;
            let mut text = Vec::new();
            if let StartExecResults::Attached { mut output, .. } = started {
                while let Some(chunk) = output.next().await {
                    let chunk = chunk.map_err(explain)?;
                    let room = OUTPUT_MAX.saturating_sub(text.len());
                    text.extend(chunk.as_ref().iter().take(room));
                }
            }
            let ended = docker.inspect_exec(&made.id).await.map_err(explain)?;
            let code = ended.exit_code.and_then(|c| i32::try_from(c).ok()).unwrap_or(-1);
            Ok((code, String::from_utf8_lossy(&text).into_owned()))
        };
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            Err(Error::Start { message: format!("the command did not end within {timeout:?}"), retry: true })
        })
    }

    async fn survivors(&self) -> Result<Vec<Handle>, Error> {
        let docker = match self.engine.get().await {
            Ok(docker) => docker,
            // Not installed: then there is nothing.
            Err(e) => {
                debug!(error = %e, "no engine to ask for containers");
                return Ok(Vec::new());
            }
        };
        let filters: HashMap<String, Vec<String>> =
            [("label".to_owned(), vec![format!("{}={}", label::OWNER, self.config.owner)])].into();
        let how = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let list =
            docker.list_containers(Some(how)).await.map_err(|e| self.engine.explain("list the containers", &e))?;
        let parse = |labels: &HashMap<String, String>, id: String| {
            let key = TaskKey {
                alloc: labels.get(label::ALLOC)?.parse().ok()?,
                task: labels.get(label::TASK)?.as_str().into(),
            };
            let logs = serde_json::from_str(labels.get("trine.logs")?).ok()?;
            Some(Handle { key, run: labels.get(label::RUN)?.parse().ok()?, detail: Detail::Container { id, logs } })
        };
        Ok(list.into_iter().filter_map(|c| parse(&c.labels?, c.id?)).collect())
    }
}
