//! The agent's data directory: made private, named in errors, removed again in `-dev`.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use model::NodeId;
use uuid::Uuid;

use crate::{client, config::Config};

/// Where this agent keeps what must outlive it, and who it is.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    node_id: NodeId,
    /// Made for this run, removed with it.
    temporary: bool,
    /// Nothing was made: an agent without state.
    absent: bool,
}

impl DataDir {
    /// Make or open the directory. An agent that keeps nothing (load balancer or discovery only) needs none.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let keeps = config.server.enabled || config.client.enabled;
        let Some(path) = config.data_dir.clone().or_else(|| config.dev.then(temporary_path)) else {
            anyhow::ensure!(
                !keeps,
                "data_dir is missing: a server or client needs one, such as -data-dir /var/lib/trine"
            );
            // The same host and ports are the same balancer after a restart.
            let name = format!("{}/{}/{}", config.name, config.ports.lb, config.ports.lb_admin);
            let node_id = NodeId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()));
            return Ok(Self { path: PathBuf::new(), node_id, temporary: false, absent: true });
        };
        let what = || {
            format!(
                "cannot use the data directory {}. Choose another with -data-dir, or mend its rights and free space",
                path.display()
            )
        };
        private(&path).with_context(what)?;
        let node_id = client::fingerprint::node_id(&path).with_context(what)?;
        let temporary = config.data_dir.is_none();
        Ok(Self { path, node_id, temporary, absent: false })
    }

    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, if it outlives the agent.
    pub fn kept(&self) -> Option<&Path> {
        (!self.temporary && !self.absent).then_some(self.path.as_path())
    }

    /// The agent is over.
    pub fn close(self) {
        if self.temporary
            && let Err(e) = fs::remove_dir_all(&self.path)
        {
            tracing::debug!(dir = %self.path.display(), error = %e, "the temporary directory stays");
        }
    }
}

fn temporary_path() -> PathBuf {
    std::env::temp_dir().join(format!("trine-dev-{}-{}", std::process::id(), &Uuid::new_v4().simple().to_string()[..8]))
}

/// Only the agent's user may look inside: task secrets live there.
fn private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        Config { data_dir: Some(dir.to_owned()), dev: false, ..Config::dev() }
    }

    #[test]
    fn the_node_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(&config(dir.path())).unwrap();
        let again = DataDir::open(&config(dir.path())).unwrap();
        assert_eq!(first.node_id(), again.node_id());
        assert_eq!(first.kept(), Some(dir.path()));
        first.close();
        assert!(dir.path().exists());
    }

    #[test]
    fn a_temporary_directory_goes_with_the_agent() {
        let dir = DataDir::open(&Config::dev()).unwrap();
        let path = dir.path().to_owned();
        assert!(path.exists() && dir.kept().is_none());
        dir.close();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_in_the_way_is_an_error_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = format!("{:#}", DataDir::open(&config(&file.join("data"))).unwrap_err());
        assert!(error.contains("-data-dir"), "{error}");
    }
}
