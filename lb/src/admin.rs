//! The admin side on its own port: routes as JSON and as a page, health, version, counters. Read only.
//!
//! ```text
//!  /            → /routes        the page, kept live by /api/status
//!  /api/routes  Fabio's shape    ?raw ?pretty        /api/problems  tags without effect, and why
//!  /api/config  /api/version     /health             /metrics       Prometheus text
//! ```

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{config::Config, core::Counters, table::Table};

mod metrics;
pub mod wire;

/// Admin connections at a time; more wait.
const MAX_CONNECTIONS: usize = 256;
/// A connection that sends no request for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// How often rates are taken.
const SAMPLE: Duration = Duration::from_secs(5);
const MAX_HEADER_BYTES: usize = 16 * 1024;

const PAGE: &str = include_str!("admin/page.html");

/// What the admin side may see.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) table: Arc<ArcSwap<Table>>,
    counters: Arc<Counters>,
    config: Arc<wire::Settings>,
    started: Instant,
    leaving: CancellationToken,
}

impl View {
    pub(crate) fn new(
        config: &Config,
        table: Arc<ArcSwap<Table>>,
        counters: Arc<Counters>,
        addr: SocketAddr,
        leaving: CancellationToken,
    ) -> Self {
        let config = Arc::new(wire::Settings::of(config, addr));
        Self { table, counters, config, started: Instant::now(), leaving }
    }

    /// Every instance of every route.
    #[must_use]
    pub fn routes(&self) -> Vec<wire::Route> {
        wire::routes(&self.table.load())
    }

    /// What the page shows.
    #[must_use]
    pub fn status(&self) -> wire::Status {
        wire::status(&self.table.load(), self.counters.sums(), self.started.elapsed())
    }
}

/// Serve the admin API until the task is dropped.
pub(crate) async fn serve(listener: std::net::TcpListener, view: View) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "the load balancer's admin API does not answer"),
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    connections.spawn(sample(Arc::clone(&view.table)));
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept an admin connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let view = view.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&view, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_header_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                debug!(%error, %peer, "admin connection ended");
            }
            drop(place);
        });
    }
}

/// Keep the rates of the instances current.
async fn sample(table: Arc<ArcSwap<Table>>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(SAMPLE).await;
        let since = last.elapsed();
        last = Instant::now();
        let table = table.load_full();
        let targets = table.routes.values().flat_map(|r| &r.choices).map(|c| &c.target);
        // An instance of several routes is sampled once.
        let once: HashMap<u64, _> = targets.map(|t| (t.id, t)).collect();
        for target in once.into_values() {
            target.sample(since);
        }
    }
}

type Answer = Response<Full<Bytes>>;

fn answer(view: &View, request: &Request<Incoming>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused =
            text(StatusCode::METHOD_NOT_ALLOWED, "the admin API only reads; routes come from service tags\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let query = request.uri().query().unwrap_or("");
    let asked = |name: &str| query.split('&').any(|q| q == name || q.split_once('=').is_some_and(|(k, _)| k == name));
    let pretty = asked("pretty");
    match request.uri().path() {
        "/" => redirect("/routes"),
        "/routes" => typed("text/html; charset=utf-8", PAGE.into()),
        "/health" if view.leaving.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
        "/health" => text(StatusCode::OK, "OK\n"),
        "/api/routes" if asked("raw") => text(StatusCode::OK, wire::raw(&view.routes())),
        "/api/routes" => json(&view.routes(), pretty),
        "/api/problems" => json(&wire::problems(&view.table.load()), pretty),
        "/api/status" => json(&view.status(), pretty),
        "/api/config" => json(&*view.config, pretty),
        "/api/version" => text(StatusCode::OK, env!("CARGO_PKG_VERSION")),
        "/metrics" => {
            let body = metrics::render(&view.table.load(), view.counters.sums());
            typed("text/plain; version=0.0.4; charset=utf-8", body.into())
        }
        "/manual" | "/api/manual" | "/api/paths" => text(
            StatusCode::NOT_IMPLEMENTED,
            "manual overrides are not built; change the urlprefix- tags of the service instead\n",
        ),
        _ => text(StatusCode::NOT_FOUND, "not found; see /routes, /api/routes, /api/problems, /health and /metrics\n"),
    }
}

fn typed(content_type: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = typed("text/plain; charset=utf-8", body.into());
    *response.status_mut() = status;
    response
}

fn json(value: &impl Serialize, pretty: bool) -> Answer {
    let body = if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    match body {
        Ok(body) => typed("application/json", body.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the answer: {error}\n")),
    }
}

fn redirect(to: &'static str) -> Answer {
    let mut response = text(StatusCode::SEE_OTHER, Bytes::new());
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response
}
