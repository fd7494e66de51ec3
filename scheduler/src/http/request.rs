//! A request as handlers see it: verb, raw path, query, bounded body.
//!
//! Everything a stranger can make large is bounded here: body bytes, time to send them, query pairs.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Method, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::{Index, Namespace, Timestamp};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::{Error, wire::time};

/// A job with its submission source may be large; nothing else comes near.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const QUERY_PAIRS_MAX: usize = 256;
/// Clients may ask for longer; they get this. Nomad's code caps at the same value.
const WAIT_MAX: Duration = Duration::from_secs(300);
const PAGE_MAX: usize = 100_000;

/// PUT and POST are the same thing to Nomad's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Put,
    Delete,
    Other,
}

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Request {
    pub verb: Verb,
    /// The raw path after `/v1/`, still percent-encoded.
    pub path: String,
    pub query: Query,
    pub body: Bytes,
    /// The clock of this request; every command it makes carries it.
    pub now: Timestamp,
}

impl Request {
    /// Read the body and take the path apart. `path` is the part after `/v1/`.
    pub async fn read(parts: &Parts, path: &str, body: Body) -> Result<Self, Error> {
        let verb = match parts.method {
            Method::GET => Verb::Get,
            Method::PUT | Method::POST => Verb::Put,
            Method::DELETE => Verb::Delete,
            _ => Verb::Other,
        };
        let query = Query::parse(parts.uri.query().unwrap_or(""))?;
        let body = if verb == Verb::Get { bounded(body).await.unwrap_or_default() } else { bounded(body).await? };
        Ok(Self { verb, path: path.to_owned(), query, body, now: now() })
    }

    /// The JSON body; an empty one is an error.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if self.body.is_empty() {
            return Err(Error::BadRequest("the request needs a JSON body".into()));
        }
        serde_json::from_slice(&self.body)
            .map_err(|e| Error::BadRequest(format!("the request body is not the JSON that is wanted here: {e}")))
    }

    /// The JSON body, where clients may leave it out.
    pub fn body_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Error> {
        if self.body.is_empty() { Ok(T::default()) } else { self.body() }
    }
}

/// The clock, read once per request.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

async fn bounded(body: Body) -> Result<Bytes, Error> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Err(_) => {
            Err(Error::BadRequest(format!("the request body did not arrive within {} s", BODY_TIMEOUT.as_secs())))
        }
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            Err(Error::TooLarge(format!("the request body is larger than {} MiB", BODY_BYTES_MAX >> 20)))
        }
        Ok(Err(e)) => Err(Error::BadRequest(format!("the request body could not be read: {e}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// The text of a path segment.
pub fn decode(segment: &str) -> Result<String, Error> {
    percent_decode_str(segment)
        .decode_utf8()
        .map(|s| s.into_owned())
        .map_err(|_| Error::BadRequest(format!("the path segment {segment:?} is not UTF-8")))
}

/// The query string, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    fn parse(raw: &str) -> Result<Self, Error> {
        let mut pairs = Vec::new();
        for pair in raw.split('&').filter(|p| !p.is_empty()) {
            if pairs.len() == QUERY_PAIRS_MAX {
                return Err(Error::BadRequest(format!("more than {QUERY_PAIRS_MAX} query parameters")));
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(&key.replace('+', " "))?, decode(&value.replace('+', " "))?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a parameter; present without a value is `Some("")`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The value, unless it is absent or empty.
    #[must_use]
    pub fn given(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|v| !v.is_empty())
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A boolean parameter: absent is `default`, bare is true, anything unreadable is an error.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.get(key) {
            None => Ok(default),
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Error::BadRequest(format!(
                "Failed to parse value of {key:?} ({other:?}) as a bool: want true or false"
            ))),
        }
    }

    pub fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        self.given(key)
            .map(|v| v.parse().map_err(|_| Error::BadRequest(format!("{key} must be a number, not {v:?}"))))
            .transpose()
    }

    /// `index` and `wait` of a blocking query; index 0 never blocks.
    pub fn blocking(&self) -> Result<(Index, Duration), Error> {
        let index = match self.given("index") {
            None => 0,
            Some(v) => v.parse().map_err(|_| Error::BadRequest("Invalid index".into()))?,
        };
        let wait = match self.given("wait") {
            None => WAIT_MAX,
            Some(v) => time::parse_duration(v).ok_or_else(|| Error::BadRequest("Invalid wait time".into()))?,
        };
        Ok((Index(index), if wait.is_zero() { WAIT_MAX } else { wait.min(WAIT_MAX) }))
    }

    /// The page size asked for, if any.
    pub fn per_page(&self) -> Result<Option<usize>, Error> {
        let asked = self.number("per_page")?.filter(|n| *n > 0);
        Ok(asked.map(|n| usize::try_from(n).unwrap_or(PAGE_MAX).min(PAGE_MAX)))
    }

    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        match self.given("namespace") {
            None => Namespaces::One(Namespace::default()),
            Some("*") => Namespaces::All,
            Some(name) => Namespaces::One(name.into()),
        }
    }
}

/// Which namespaces a list covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    All,
    One(Namespace),
}

impl Namespaces {
    #[must_use]
    pub fn has(&self, name: &Namespace) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == name,
        }
    }

    /// The namespace a single object is looked for in.
    #[must_use]
    pub fn one(&self) -> Namespace {
        match self {
            Self::All => Namespace::default(),
            Self::One(one) => one.clone(),
        }
    }
}
