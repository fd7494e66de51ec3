//! The connection to the engine, the API version both sides speak, and its errors in plain words.

use std::{sync::Arc, time::Duration};

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, errors::Error as Fault, models::SystemVersion};
use tokio::sync::Mutex;

use crate::driver::Error;

const DEFAULT: &str = "unix:///var/run/docker.sock";
/// Seconds a request may take; streams are not bounded by it.
const TIMEOUT: u64 = 120;
/// How long the engine may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(3);

/// A connection that is made when it is first needed, and made again after a failure.
#[derive(Clone, Debug)]
pub struct Engine {
    endpoint: String,
    connected: Arc<Mutex<Option<Docker>>>,
}

/// The HTTP status of a refusal.
#[must_use]
pub fn status(e: &Fault) -> Option<u16> {
    match e {
        Fault::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

impl Engine {
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        let endpoint = if endpoint.is_empty() { DEFAULT } else { endpoint };
        Self { endpoint: endpoint.to_owned(), connected: Arc::default() }
    }

    /// The engine, speaking a version both sides know.
    pub async fn get(&self) -> Result<Docker, Error> {
        let mut connected = self.connected.lock().await;
        if let Some(docker) = &*connected {
            return Ok(docker.clone());
        }
        let docker = self.negotiate().await?;
        *connected = Some(docker.clone());
        Ok(docker)
    }

    fn connect(&self, version: &ClientVersion) -> Result<Docker, Error> {
        if !self.endpoint.starts_with("unix://") {
            return Err(Error::NotBuilt(format!(
                "docker endpoint {:?}: only unix:// sockets are built in this version of Trine",
                self.endpoint
            )));
        }
        Docker::connect_with_unix(&self.endpoint, TIMEOUT, version).map_err(|e| self.explain("connect", &e))
    }

    async fn negotiate(&self) -> Result<Docker, Error> {
        let newest = self.connect(API_DEFAULT_VERSION)?;
        match tokio::time::timeout(HELLO_WITHIN, newest.version()).await {
            Ok(Ok(_)) => Ok(newest),
            Ok(Err(e)) => match highest(&e) {
                Some(version) => self.connect(&version),
                None => Err(self.explain("greet", &e)),
            },
            Err(_) => Err(self.silent()),
        }
    }

    /// Who the engine is; also the question whether it is there.
    pub async fn version(&self) -> Result<SystemVersion, Error> {
        let docker = self.get().await?;
        match tokio::time::timeout(HELLO_WITHIN, docker.version()).await {
            Ok(Ok(version)) => Ok(version),
            Ok(Err(e)) => {
                // It may come back as another version.
                *self.connected.lock().await = None;
                Err(self.explain("greet", &e))
            }
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Error {
        Error::Unavailable(format!(
            "the Docker engine at {} does not answer within {HELLO_WITHIN:?}; see whether it hangs (docker info)",
            self.endpoint
        ))
    }

    /// What went wrong, and what to do next.
    #[must_use]
    pub fn explain(&self, action: &str, e: &Fault) -> Error {
        match e {
            Fault::DockerResponseServerError { status_code, message } => {
                let hint =
                    if message.contains("port is already allocated") || message.contains("address already in use") {
                        " (another program on this node holds the port)"
                    } else if message.contains("executable file not found") {
                        " (the image has no such command)"
                    } else {
                        ""
                    };
                let message = format!("cannot {action}: {}{hint}", message.trim());
                // 5xx: the engine's trouble, which may pass; 4xx: the request's.
                Error::Start { message, retry: *status_code >= 500 || *status_code == 409 }
            }
            other => Error::Unavailable(format!(
                "the Docker engine does not answer at {} ({other}); start it (systemctl start docker), or set the \
                 endpoint in plugin \"docker\"",
                self.endpoint
            )),
        }
    }
}

/// "client version 1.53 is too new. Maximum supported API version is 1.41".
fn highest(e: &Fault) -> Option<ClientVersion> {
    let Fault::DockerResponseServerError { message, .. } = e else { return None };
    let (_, version) = message.rsplit_once("Maximum supported API version is ")?;
    let (major, minor) = version.trim().trim_end_matches('.').split_once('.')?;
    let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_answer_names_the_version() {
        let message = "client version 1.53 is too new. Maximum supported API version is 1.41".to_owned();
        let v = highest(&Fault::DockerResponseServerError { status_code: 400, message }).expect("a version");
        assert_eq!((v.major_version, v.minor_version), (1, 41));
    }

    #[tokio::test]
    async fn no_engine_says_what_to_do() {
        let e = Engine::new("unix:///nowhere/docker.sock").get().await.expect_err("nobody there");
        assert!(e.to_string().contains("start it") && e.to_string().contains("/nowhere/docker.sock"), "{e}");
        assert!(e.retryable());
        assert!(matches!(Engine::new("tcp://1.2.3.4:2375").get().await, Err(Error::NotBuilt(_))));
    }
}
