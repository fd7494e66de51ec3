//! The HTTP client of every command and of the walkthrough: addresses, tokens, errors that say what to do.
//!
//! Owns: finding the agent (`TRINE_ADDR`, `NOMAD_ADDR`, `CONSUL_HTTP_ADDR` and their tokens), JSON in and out, blocking
//! queries, streams. Refuses: knowing any endpoint. Every request has a deadline and every answer a size limit.

use std::{env, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

/// No answer of an API is larger.
const MAX_ANSWER: usize = 64 << 20;
const CONNECT: Duration = Duration::from_secs(5);
/// Longest silence of a plain request.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a blocking query may take beyond the time it asked to wait.
const GRACE: Duration = Duration::from_secs(20);

/// Kept as they are in a path segment and in a query value.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request that did not bring what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{variable} = {address:?} is not an address: {reason}")]
    Address { variable: String, address: String, reason: String },
    #[error(
        "nothing answers at {base}: {reason}\nIs the agent running? Start one with `trine agent -dev`, or say where it is with {variable}"
    )]
    Unreachable { base: String, reason: String, variable: String },
    /// The API said no; the text is its own.
    #[error("{message} (HTTP {} from {url})", status.as_u16())]
    Refused { status: StatusCode, message: String, url: String },
    #[error("{url} did not answer within {} s", after.as_secs())]
    Late { url: String, after: Duration },
    #[error("{url} answered what is not expected: {reason}")]
    Unexpected { url: String, reason: String },
}

impl Error {
    /// The API's own words, without the address, for messages that name it already.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        if let Self::Refused { status, .. } = self { Some(*status) } else { None }
    }

    #[must_use]
    pub fn not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }
}

/// An answer and the index to wait after.
#[derive(Clone, Debug)]
pub struct Indexed<T> {
    pub index: u64,
    pub value: T,
}

/// Where to find an API and its token: environment variables in order, then a default.
struct Known {
    addresses: &'static [&'static str],
    tokens: &'static [&'static str],
    header: &'static str,
    index: &'static str,
    default: &'static str,
}

const SCHEDULER: Known = Known {
    addresses: &["TRINE_ADDR", "NOMAD_ADDR"],
    tokens: &["TRINE_TOKEN", "NOMAD_TOKEN"],
    header: "x-nomad-token",
    index: "x-nomad-index",
    default: "http://127.0.0.1:4646",
};

const CATALOG: Known = Known {
    addresses: &["TRINE_CATALOG_ADDR", "CONSUL_HTTP_ADDR"],
    tokens: &["TRINE_CATALOG_TOKEN", "CONSUL_HTTP_TOKEN"],
    header: "x-consul-token",
    index: "x-consul-index",
    default: "http://127.0.0.1:8500",
};

const BALANCER: Known = Known {
    addresses: &["TRINE_LB_ADDR"],
    tokens: &[],
    header: "x-trine-token",
    index: "x-trine-index",
    default: "http://127.0.0.1:9998",
};

/// One API of one agent.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    variable: &'static str,
    token: Option<(HeaderName, HeaderValue)>,
    index_header: &'static str,
    defaults: Vec<(&'static str, String)>,
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// The scheduler's API: `address` or the environment or `http://127.0.0.1:4646`.
    pub fn scheduler(address: Option<&str>) -> Result<Self, Error> {
        let mut client = Self::find(&SCHEDULER, address)?;
        for (variable, key) in [("NOMAD_NAMESPACE", "namespace"), ("NOMAD_REGION", "region")] {
            if let Some(value) = env::var(variable).ok().filter(|v| !v.is_empty()) {
                client = client.with_default(key, value);
            }
        }
        Ok(client)
    }

    /// The catalog's API: `address` or the environment or `http://127.0.0.1:8500`.
    pub fn catalog(address: Option<&str>) -> Result<Self, Error> {
        Self::find(&CATALOG, address)
    }

    /// The load balancer's admin API: `address` or `TRINE_LB_ADDR` or `http://127.0.0.1:9998`.
    pub fn balancer(address: Option<&str>) -> Result<Self, Error> {
        Self::find(&BALANCER, address)
    }

    fn find(known: &Known, address: Option<&str>) -> Result<Self, Error> {
        let set = |names: &[&'static str]| {
            names.iter().find_map(|n| env::var(n).ok().filter(|v| !v.is_empty()).map(|v| (*n, v)))
        };
        let (variable, text) = match (address, set(known.addresses)) {
            (Some(given), _) => ("-address".to_owned(), given.to_owned()),
            (None, Some((name, value))) => (name.to_owned(), value),
            (None, None) => (known.addresses[0].to_owned(), known.default.to_owned()),
        };
        let base = base_url(&text).map_err(|reason| Error::Address { variable, address: text, reason })?;
        let token = set(known.tokens)
            .and_then(|(_, v)| HeaderValue::from_str(&v).ok())
            .map(|v| (HeaderName::from_static(known.header), v));
        Ok(Self {
            base,
            variable: known.addresses[0],
            token,
            index_header: known.index,
            defaults: Vec::new(),
            http: http_client(),
        })
    }

    /// Send `key=value` with every request.
    #[must_use]
    pub fn with_default(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.defaults.retain(|(k, _)| *k != key);
        self.defaults.push((key, value.into()));
        self
    }

    /// Use this token instead of the environment's.
    pub fn with_token(mut self, token: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(token).map_err(|_| Error::Address {
            variable: "-token".into(),
            address: "(hidden)".into(),
            reason: "a token has no line breaks or control characters".into(),
        })?;
        let header = if self.index_header == CATALOG.index { CATALOG.header } else { SCHEDULER.header };
        self.token = Some((HeaderName::from_static(header), value));
        Ok(self)
    }

    /// `http://host:port`, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET`, JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let (_, bytes) = self.call(Method::GET, path, None, PATIENCE).await?;
        self.decode(path, &bytes)
    }

    /// `GET`, JSON, `None` when the API knows no such thing.
    pub async fn find_one<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `GET` that waits until the answer's index is above `after`, or until `wait` has passed.
    pub async fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
        after: u64,
        wait: Duration,
    ) -> Result<Indexed<T>, Error> {
        let path = with_query(path, &[("index", &after.to_string()), ("wait", &format!("{}ms", wait.as_millis()))]);
        // The API adds up to a sixteenth of the wait, so that many waiters do not come back at once.
        let (head, bytes) = self.call(Method::GET, &path, None, wait + wait / 16 + GRACE).await?;
        let index = head.headers().get(self.index_header).and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
        Ok(Indexed { index, value: self.decode(&path, &bytes)? })
    }

    /// `PUT`, JSON both ways.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, Error> {
        let (_, bytes) = self.call(Method::PUT, path, Some(body.to_string().into()), PATIENCE).await?;
        self.decode(path, &bytes)
    }

    /// `DELETE`, JSON.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let (_, bytes) = self.call(Method::DELETE, path, None, PATIENCE).await?;
        self.decode(path, &bytes)
    }

    /// Any method, raw bytes both ways (key-value entries, plain text).
    pub async fn raw(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Bytes, Error> {
        Ok(self.call(method, path, body, PATIENCE).await?.1)
    }

    /// A `GET` whose answer goes on for as long as the caller reads (logs, events).
    pub async fn stream(&self, path: &str) -> Result<Incoming, Error> {
        let response = self.begin(Method::GET, path, None, PATIENCE).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let (head, body) = response.into_parts();
        let bytes = self.collect(path, body, PATIENCE).await?;
        Err(self.refused(path, head.status, &bytes))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        patience: Duration,
    ) -> Result<(Response<()>, Bytes), Error> {
        let (head, body) = self.begin(method, path, body, patience).await?.into_parts();
        let bytes = self.collect(path, body, patience).await?;
        if head.status.is_success() {
            Ok((Response::from_parts(head, ()), bytes))
        } else {
            Err(self.refused(path, head.status, &bytes))
        }
    }

    async fn begin(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        patience: Duration,
    ) -> Result<Response<Incoming>, Error> {
        let defaults: Vec<(&str, &str)> = self.defaults.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let url = format!("{}{}", self.base, with_query(path, &defaults));
        let mut request = Request::builder().method(method).uri(&url);
        if let Some((name, value)) = &self.token {
            request = request.header(name, value);
        }
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|e| Error::Unexpected { url: url.clone(), reason: format!("this request cannot be sent: {e}") })?;
        match tokio::time::timeout(patience, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => Err(Error::Unreachable {
                base: self.base.clone(),
                reason: innermost(&e),
                variable: self.variable.to_owned(),
            }),
            Err(_) => Err(Error::Late { url, after: patience }),
        }
    }

    async fn collect(&self, path: &str, body: Incoming, patience: Duration) -> Result<Bytes, Error> {
        let url = || format!("{}{path}", self.base);
        let collected = tokio::time::timeout(patience, Limited::new(body, MAX_ANSWER).collect()).await;
        match collected {
            Err(_) => Err(Error::Late { url: url(), after: patience }),
            Ok(Ok(all)) => Ok(all.to_bytes()),
            Ok(Err(e)) if e.is::<LengthLimitError>() => {
                Err(Error::Unexpected { url: url(), reason: format!("more than {} MiB", MAX_ANSWER >> 20) })
            }
            Ok(Err(e)) => Err(Error::Unexpected { url: url(), reason: format!("the connection broke: {e}") }),
        }
    }

    fn decode<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes)
            .map_err(|e| Error::Unexpected { url: format!("{}{path}", self.base), reason: format!("{e}") })
    }

    fn refused(&self, path: &str, status: StatusCode, body: &[u8]) -> Error {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let message =
            if text.is_empty() { status.canonical_reason().unwrap_or("no reason given").into() } else { text.into() };
        Error::Refused { status, message, url: format!("{}{path}", self.base) }
    }
}

fn http_client() -> legacy::Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build(connector)
}

/// `127.0.0.1:4646`, `http://host:4646/` → `http://host:4646`.
fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.starts_with("https://") {
        return Err("TLS is not built yet; use http://".into());
    }
    if text.starts_with("unix:") {
        return Err("unix sockets are not built; use http://host:port".into());
    }
    let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let authority: http::uri::Authority = rest.parse().map_err(|_| "write http://host:port".to_owned())?;
    if authority.host().is_empty() || rest.contains('@') {
        return Err("write http://host:port".into());
    }
    Ok(format!("http://{authority}"))
}

/// The cause at the bottom of an error, which is the one a person can act on.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// One path segment or query value, encoded.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// `path` with more query parameters.
#[must_use]
pub fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (key, value) in pairs {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(&encode(key));
        out.push('=');
        out.push_str(&encode(value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(base_url("127.0.0.1:4646").as_deref(), Ok("http://127.0.0.1:4646"));
        assert_eq!(base_url(" http://x:1/ ").as_deref(), Ok("http://x:1"));
        assert_eq!(base_url("http://[::1]:1").as_deref(), Ok("http://[::1]:1"));
        for bad in ["https://x", "unix:///run/x", "", "http://", "http://a b", "http://u:p@host"] {
            assert!(base_url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(with_query("/v1/jobs", &[("prefix", "a b/ü"), ("x", "&")]), "/v1/jobs?prefix=a%20b%2F%C3%BC&x=%26");
        assert_eq!(with_query("/v1/jobs?a=b", &[("c", "d")]), "/v1/jobs?a=b&c=d");
    }

    #[tokio::test]
    async fn nobody_there_says_how_to_start_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let client = Client::scheduler(Some(&address)).unwrap();
        let error = client.get::<serde_json::Value>("/v1/jobs").await.unwrap_err().to_string();
        assert!(error.contains("trine agent -dev") && error.contains("TRINE_ADDR"), "{error}");
    }
}
