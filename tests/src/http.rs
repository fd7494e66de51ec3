//! Blocking HTTP for tests.

use std::time::Duration;

use serde_json::Value;

/// A reply, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    /// The body as JSON, or the whole reply as the complaint.
    pub fn json(&self) -> Result<Value, String> {
        if self.status != 200 {
            return Err(format!("{} {}", self.status, self.body));
        }
        serde_json::from_str(&self.body).map_err(|e| format!("{e} in {}", self.body))
    }
}

/// A client that keeps connections and treats no status as an error.
#[derive(Clone, Debug)]
pub struct Client(ureq::Agent);

impl Default for Client {
    fn default() -> Self {
        Self::with_timeout(Duration::from_secs(10))
    }
}

impl Client {
    pub fn with_timeout(limit: Duration) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(limit)).build();
        Self(config.into())
    }

    pub fn get(&self, url: &str) -> Result<Reply, String> {
        read(self.0.get(url).call())
    }

    /// The index a catalog read carries.
    pub fn index(&self, url: &str) -> Result<u64, String> {
        let answer = self.0.get(url).call().map_err(|e| e.to_string())?;
        let header = answer.headers().get("x-consul-index").ok_or("no X-Consul-Index")?;
        header.to_str().ok().and_then(|v| v.parse().ok()).ok_or_else(|| format!("X-Consul-Index is {header:?}"))
    }

    pub fn put(&self, url: &str, body: &str) -> Result<Reply, String> {
        read(self.0.put(url).send(body))
    }

    pub fn delete(&self, url: &str) -> Result<Reply, String> {
        read(self.0.delete(url).call())
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, String> {
    let mut answer = answer.map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string().map_err(|e| e.to_string())?;
    Ok(Reply { status, body })
}
