//! The client's own HTTP routes: files, logs and figures of the allocations on this node.
//!
//! ```text
//!  /v1/client/fs/{ls,stat,cat,readat,stream,logs}/:alloc      http/fs.rs, http/stream.rs
//!  /v1/client/allocation/:alloc/{stats,restart,signal,gc,checks}   http/alloc.rs
//!  /v1/client/{stats,gc,metadata}                              http/host.rs
//! ```
//! Refuses allocations of other nodes (it says where to ask) and every path that leaves the allocation's directory.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, put},
};
use model::{Alloc, AllocId};
use serde::Serialize;

use super::{Error as ClientError, Handle};
use crate::driver;

mod alloc;
mod fs;
mod host;
mod open;
mod stream;
#[cfg(test)]
mod tests;

/// The largest request body: a task's name.
const BODY_MAX: usize = 64 * 1024;

/// Every route of the client role, to be merged with the scheduler's.
pub fn router(client: Handle) -> Router {
    let allocation = |path: &str| format!("/v1/client/allocation/{{alloc}}/{path}");
    let files = |path: &str| format!("/v1/client/fs/{path}/{{alloc}}");
    Router::new()
        .route(&files("ls"), get(fs::ls))
        .route(&files("stat"), get(fs::stat))
        .route(&files("cat"), get(fs::cat))
        .route(&files("readat"), get(fs::readat))
        .route(&files("stream"), get(stream::file))
        .route(&files("logs"), get(stream::logs))
        .route(&allocation("stats"), get(alloc::stats))
        .route(&allocation("restart"), put(alloc::restart).post(alloc::restart))
        .route(&allocation("signal"), put(alloc::signal).post(alloc::signal))
        .route(&allocation("gc"), get(alloc::gc).put(alloc::gc).post(alloc::gc))
        .route(&allocation("checks"), get(alloc::checks))
        .route(&allocation("exec"), any(not_built_exec))
        .route("/v1/client/stats", get(host::stats))
        .route("/v1/client/gc", get(host::gc).put(host::gc).post(host::gc))
        .route("/v1/client/metadata", get(host::metadata).post(not_built_metadata))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(same_origin))
        .with_state(client)
}

/// A page of another site must not restart tasks through somebody's browser.
async fn same_origin(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let page = text(header::ORIGIN).map(|o| o.split_once("://").map_or("", |(_, authority)| authority));
    if request.method() != Method::GET && page.is_some_and(|p| Some(p) != text(header::HOST)) {
        return Error(
            StatusCode::FORBIDDEN,
            "writes from a page of another origin are refused; use this agent's own page, or the CLI".into(),
        )
        .into_response();
    }
    next.run(request).await
}

async fn not_built_exec() -> Error {
    Error(
        StatusCode::NOT_IMPLEMENTED,
        "alloc exec is not built in this version of Trine; look at the task's logs, or enter it on its node".into(),
    )
}

async fn not_built_metadata() -> Error {
    Error(
        StatusCode::NOT_IMPLEMENTED,
        "node metadata cannot be changed while the agent runs; set client { meta { … } } in its configuration".into(),
    )
}

/// Status and the plain text that clients show.
#[derive(Debug)]
pub struct Error(pub StatusCode, pub String);

impl Error {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn missing(message: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, message.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.0, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.1).into_response()
    }
}

impl From<ClientError> for Error {
    fn from(e: ClientError) -> Self {
        let status = match &e {
            ClientError::UnknownAlloc(_) | ClientError::UnknownTask { .. } => StatusCode::NOT_FOUND,
            ClientError::Driver(driver::Error::Signal(_)) | ClientError::Task(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, e.to_string())
    }
}

/// A JSON answer with the headers every client of this API expects.
fn json<T: Serialize>(client: &Handle, value: &T) -> Response {
    let state = client.services.replica.snapshot();
    let index = state.index.0.max(1);
    let mut response = axum::Json(value).into_response();
    let headers = response.headers_mut();
    headers.insert("X-Nomad-Index", HeaderValue::from(index));
    headers.insert("X-Nomad-LastContact", HeaderValue::from(0));
    headers.insert("X-Nomad-KnownLeader", HeaderValue::from_static("true"));
    response
}

/// The allocation a request is about, if it is on this node.
fn here(client: &Handle, id: &str) -> Result<Arc<Alloc>, Error> {
    let unknown = || Error::missing(format!("Unknown allocation {id:?}"));
    let parsed: AllocId = id.parse().map_err(|_| unknown())?;
    let state = client.services.replica.snapshot();
    let alloc = state.allocs.get(&parsed).ok_or_else(unknown)?;
    if alloc.node != client.services.node {
        let at = state.node(alloc.node).map_or("", |n| n.http_address.as_str());
        return Err(Error::missing(format!(
            "Unknown allocation {id:?} on this node: it is on node {:?}; ask its agent at http://{at}",
            alloc.node_name
        )));
    }
    Ok(Arc::clone(alloc))
}
