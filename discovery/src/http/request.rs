//! A request as the handlers see it: method, raw path, decoded query, bounded body.

use std::sync::{Mutex, PoisonError};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Method, header},
};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;

use super::Error;

/// The largest body that is read, whatever the endpoint.
const BODY_MAX: usize = 1 << 20;
/// Bytes of the longest path: the longest key fits many times.
const PATH_MAX: usize = 16 * 1024;
const QUERY_PAIRS_MAX: usize = 256;

/// One request; the body is read only when a handler asks for it.
pub(super) struct Call {
    pub method: Method,
    /// As sent: percent signs are still in it.
    pub path: String,
    query: Vec<(String, String)>,
    pub headers: HeaderMap,
    /// In a mutex only so that the request may be looked at from several threads; a body may not.
    body: Mutex<Option<Body>>,
}

impl Call {
    pub(super) fn new(request: Request) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if path.len() > PATH_MAX {
            return Err(Error::BadRequest(format!("the path is longer than {PATH_MAX} bytes")));
        }
        let query = parse_query(parts.uri.query().unwrap_or_default())?;
        Ok(Self { method: parts.method, path, query, headers: parts.headers, body: Mutex::new(Some(body)) })
    }

    /// Whether a parameter is there, with whatever value: clients send `?stale`, `?stale=` and `?stale=1`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.query.iter().any(|(k, _)| k == name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.query.iter().filter(|(k, v)| k == name && !v.is_empty()).map(|(_, v)| v.clone()).collect()
    }

    /// The body, at most `limit` bytes.
    pub(super) async fn body(&mut self, limit: usize) -> Result<Bytes, Error> {
        if let Some(encoding) = self.headers.get(header::CONTENT_ENCODING) {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            if !encoding.eq_ignore_ascii_case("identity") {
                return Err(Error::Encoding(encoding));
            }
        }
        let announced = self.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        let too_large =
            |size: &str| Error::TooLarge(format!("Request body({size}) too large, max size: {limit} bytes."));
        if let Some(size) = announced.filter(|n| *n > limit as u64) {
            return Err(too_large(&format!("{size} bytes")));
        }
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body else { return Ok(Bytes::new()) };
        match Limited::new(body, limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(too_large(&format!("over {limit} bytes"))),
            Err(e) => Err(Error::BadRequest(format!("Failed to read the request body: {e}"))),
        }
    }

    /// The body of an endpoint that takes JSON.
    pub(super) async fn json_body(&mut self) -> Result<Bytes, Error> {
        self.body(BODY_MAX).await
    }
}

/// Pairs of a query string. A name without a value has an empty one.
fn parse_query(query: &str) -> Result<Vec<(String, String)>, Error> {
    let pairs: Vec<_> = query.split('&').filter(|p| !p.is_empty()).collect();
    if pairs.len() > QUERY_PAIRS_MAX {
        return Err(Error::BadRequest(format!("more than {QUERY_PAIRS_MAX} query parameters")));
    }
    let text = |s: &str| {
        let spaced = s.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().map(|t| t.into_owned());
        decoded.map_err(|_| Error::BadRequest("Invalid query: a parameter is not UTF-8".into()))
    };
    pairs
        .into_iter()
        .map(|p| {
            let (k, v) = p.split_once('=').unwrap_or((p, ""));
            Ok((text(k)?, text(v)?))
        })
        .collect()
}

/// The rest of a path as a name or key: decoded once, and nothing else done to it.
pub(super) fn decode(rest: &str) -> Result<String, Error> {
    let text = percent_decode_str(rest)
        .decode_utf8()
        .map_err(|_| Error::BadRequest("Invalid URL path: it is not UTF-8".into()))?;
    if text.chars().any(char::is_control) {
        return Err(Error::BadRequest("Invalid URL path: it has non-printable characters".into()));
    }
    Ok(text.into_owned())
}
