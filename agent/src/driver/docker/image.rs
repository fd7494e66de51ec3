//! Images: used when they are here, pulled when they are not.
//!
//! `:latest` is asked for anew each time, but an image that is here runs even if the registry cannot be reached.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::{auth::DockerCredentials, query_parameters::CreateImageOptionsBuilder};
use futures_util::StreamExt;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{
    config::ContainerConfig,
    engine::{Engine, status},
};
use crate::driver::Error;

/// How long the registry may take when an image is here already.
const REFRESH_WITHIN: Duration = Duration::from_secs(5);
/// A registry that could not be reached is not asked again for this long.
const SULK: Duration = Duration::from_secs(60);
/// The most images whose last failure is remembered.
const REMEMBERED: usize = 256;

/// One pull per image at a time; others wait for it.
#[derive(Debug)]
pub struct Images {
    timeout: Duration,
    turns: Mutex<HashMap<String, Arc<Mutex<Option<Instant>>>>>,
}

impl Images {
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, turns: Mutex::default() }
    }

    /// See to it that the image is here.
    pub async fn provide(&self, engine: &Engine, config: &ContainerConfig) -> Result<(), Error> {
        let image = with_tag(&config.image);
        let turn = {
            let mut turns = self.turns.lock().await;
            if turns.len() > REMEMBERED {
                turns.clear();
            }
            Arc::clone(turns.entry(image.clone()).or_default())
        };
        let mut failed = turn.lock().await;
        let here = present(engine, &image).await?;
        let refresh = config.force_pull || image.ends_with(":latest");
        if here && (!refresh || (!config.force_pull && failed.is_some_and(|at| at.elapsed() < SULK))) {
            return Ok(());
        }
        let limit = if here && !config.force_pull { REFRESH_WITHIN.min(self.timeout) } else { self.timeout };
        let outcome = match tokio::time::timeout(limit, pull(engine, &image, config)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("the registry did not deliver it within {limit:?}")),
        };
        match outcome {
            Ok(()) => {
                info!(%image, "image pulled");
                *failed = None;
                Ok(())
            }
            Err(why) if here && !config.force_pull => {
                warn!(%image, %why, "image could not be refreshed; the one on this node is used");
                *failed = Some(Instant::now());
                Ok(())
            }
            Err(why) => Err(Error::Start {
                message: format!(
                    "image {image:?} is not on this node and could not be pulled: {why}; check its name, give auth for \
                     its registry, or bring it here with docker load"
                ),
                retry: true,
            }),
        }
    }
}

async fn present(engine: &Engine, image: &str) -> Result<bool, Error> {
    match engine.get().await?.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(e) if status(&e) == Some(404) => Ok(false),
        Err(e) => Err(engine.explain(&format!("look for image {image:?}"), &e)),
    }
}

async fn pull(engine: &Engine, image: &str, config: &ContainerConfig) -> Result<(), String> {
    let docker = engine.get().await.map_err(|e| e.to_string())?;
    let (name, tag) = split(image);
    let how = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
    let credentials = config.auth.as_ref().map(|a| DockerCredentials {
        username: Some(a.username.clone()),
        password: Some(a.password.clone()),
        serveraddress: Some(a.server.clone()).filter(|s| !s.is_empty()),
        ..DockerCredentials::default()
    });
    let mut news = docker.create_image(Some(how), None, credentials);
    while let Some(item) = news.next().await {
        match item {
            Ok(info) => {
                if let Some(message) = info.error_detail.and_then(|e| e.message) {
                    return Err(message);
                }
            }
            Err(bollard::errors::Error::DockerResponseServerError { message, .. }) => return Err(message),
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(())
}

/// The name with its tag, `latest` when there is none.
#[must_use]
pub fn with_tag(image: &str) -> String {
    let (_, tag) = split(image);
    if tag.is_empty() { format!("{image}:latest") } else { image.to_owned() }
}

/// Name and tag; a digest stays part of the name's right side as docker wants it.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        // A colon before the last slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        assert_eq!(with_tag("fabiolb/fabio"), "fabiolb/fabio:latest");
        assert_eq!(with_tag("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(with_tag("a:1"), "a:1");
        assert_eq!(split("a@sha256:00"), ("a", "sha256:00"));
        assert_eq!(split("localhost:5000/a:2"), ("localhost:5000/a", "2"));
    }
}
