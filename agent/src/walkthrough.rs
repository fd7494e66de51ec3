//! `trine walkthrough`: one agent, five job files, from a single web server to a canary deployment under load.
//!
//! Owns the story and its evidence. Everything is done through the HTTP APIs, DNS and the load balancer's port, as a
//! user would; nothing looks inside the agent. A step that does not show what it promises ends the walkthrough with
//! the reason the API gives.
//!
//! ```text
//!  files.rs (embedded jobs) ─► steps.rs ─► scheduler.rs · lookup.rs · traffic.rs ─► page.rs (what is printed)
//! ```

use std::net::SocketAddr;

mod files;
mod lookup;
mod page;
mod scheduler;
mod steps;
mod traffic;

pub use files::Driver;
pub use page::Page;

use crate::cli::client::{self, Client};

/// Where the agent under the walkthrough listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub catalog: SocketAddr,
    pub dns: SocketAddr,
    pub lb: SocketAddr,
    pub lb_admin: SocketAddr,
}

/// The step that did not show what it promised.
#[derive(Debug, thiserror::Error)]
#[error("step {step} ({title}) failed: {reason}")]
pub struct Failed {
    pub step: usize,
    pub title: &'static str,
    pub reason: Reason,
}

impl Failed {
    /// The agent itself ended under the walkthrough.
    #[must_use]
    pub fn agent(ended: &crate::supervise::Ended) -> Self {
        Self { step: 0, title: "The agent", reason: Reason::Evidence(ended.to_string()) }
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error(transparent)]
    Api(#[from] client::Error),
    #[error("DNS: {0}")]
    Dns(String),
    #[error("{0}")]
    Evidence(String),
}

/// Shorthand for evidence that is not there.
fn missing<T>(text: impl Into<String>) -> Result<T, Reason> {
    Err(Reason::Evidence(text.into()))
}

/// What the steps work with.
#[derive(Debug)]
struct Scene {
    scheduler: Client,
    catalog: Client,
    addresses: Addresses,
    files: files::Files,
}

/// Go through the steps against a running agent.
pub async fn run(addresses: Addresses, driver: Driver, free_ports: bool, page: &Page) -> Result<(), Failed> {
    let prepare = || -> Result<Scene, Reason> {
        Ok(Scene {
            // The environment may point at another agent; the walkthrough is about this one.
            scheduler: Client::scheduler(Some(&addresses.http.to_string()))?
                .with_default("namespace", "default")
                .with_default("region", "global"),
            catalog: Client::catalog(Some(&addresses.catalog.to_string()))?,
            addresses,
            files: files::Files::new(driver, addresses, free_ports)?,
        })
    };
    let scene = prepare().map_err(|reason| Failed { step: 0, title: "Preparation", reason })?;
    steps::all(&scene, page).await
}
