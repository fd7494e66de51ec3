//! The page at `/ui`: plain files embedded in the binary, and the two reads the public APIs do not give it.
//!
//! ```text
//! GET /ui, /ui/, /ui/{file}    the page
//! GET /ui/api/services         catalog services with instances, checks and allocations   (blocking: index, wait)
//! GET /ui/api/routes           the local load balancer's routes, or why there are none   (blocking: index, wait)
//! ```
//! Everything else the page shows comes from the Nomad-compatible API. Writes nothing itself.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State as Shared},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use model::{
    Index, Replica, State, Topic,
    catalog::{Instance, Source},
    replica::block_until,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest a read is held open.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The routes of a very large table; more is cut off with an error rather than read.
const MAX_ROUTES: usize = 64 << 20;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Only the page's own files may run or be shown; tasks' logs are text.
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

const FILES: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("ui/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("ui/app.js")),
    ("dom.js", "text/javascript; charset=utf-8", include_str!("ui/dom.js")),
    ("jobs.js", "text/javascript; charset=utf-8", include_str!("ui/jobs.js")),
    ("cluster.js", "text/javascript; charset=utf-8", include_str!("ui/cluster.js")),
];

/// What the page needs of its agent.
#[derive(Clone)]
pub struct Ui {
    replica: Arc<dyn Replica>,
    balancer: Option<Balancer>,
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// Where the agent's own load balancer listens.
#[derive(Clone, Copy, Debug)]
pub struct Balancer {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
}

#[derive(Debug, Default, Deserialize)]
struct Wait {
    index: Option<u64>,
    /// Whole seconds with an `s`, as the page sends it.
    wait: Option<String>,
}

impl Wait {
    fn after(&self) -> Index {
        Index(self.index.unwrap_or(0))
    }

    fn limit(&self) -> Duration {
        let seconds = self.wait.as_deref().and_then(|w| w.trim_end_matches('s').parse().ok()).unwrap_or(30);
        Duration::from_secs(seconds).min(MAX_WAIT)
    }
}

/// The page's routes.
pub fn router(replica: Arc<dyn Replica>, balancer: Option<Balancer>) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    Router::new()
        .route("/ui", get(|| async { Redirect::permanent("/ui/") }))
        .route("/ui/", get(page))
        .route("/ui/{file}", get(file))
        .route("/ui/api/services", get(services))
        .route("/ui/api/routes", get(routes))
        .with_state(Ui { replica, balancer, client })
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

async fn page() -> Response {
    asset("text/html; charset=utf-8", include_str!("ui/index.html"))
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(file, _, _)| *file == name) {
        Some((_, kind, text)) => asset(kind, text),
        None => (StatusCode::NOT_FOUND, "no such page; the user interface starts at /ui/").into_response(),
    }
}

fn indexed(index: Index, value: Value) -> Response {
    ([("X-Nomad-Index", index.0.max(1).to_string())], Json(value)).into_response()
}

async fn services(Shared(ui): Shared<Ui>, Query(wait): Query<Wait>) -> Response {
    let view = |s: &State| (s.tables.services.max(s.tables.checks), list(s));
    let (index, all) =
        block_until(&*ui.replica, &[Topic::Services, Topic::Checks], wait.after(), wait.limit(), view).await;
    indexed(index, all)
}

fn list(state: &State) -> Value {
    let entries = state.services.iter().map(|(name, entry)| {
        let instances: Vec<_> = entry.instances.values().map(|i| instance(state, i)).collect();
        json!({ "Name": name.as_str(), "Instances": instances })
    });
    Value::Array(entries.collect())
}

fn instance(state: &State, i: &Instance) -> Value {
    let node_checks = state.catalog_nodes.get(&i.node).into_iter().flat_map(|n| n.checks.values());
    let checks: Vec<_> = node_checks
        .chain(i.checks.values())
        .map(|c| json!({ "Name": c.name, "Status": c.verdict.as_str(), "Output": c.output }))
        .collect();
    let alloc = match &i.source {
        Source::Alloc(id) => Some(id.to_string()),
        _ => None,
    };
    json!({
        "ID": i.id.as_str(), "Node": i.node.as_str(), "Address": state.address_of(i), "Port": i.port,
        "Tags": i.tags.iter().map(|t| &**t).collect::<Vec<_>>(),
        "Status": state.verdict_of(i).as_str(), "AllocID": alloc, "Checks": checks,
    })
}

async fn routes(Shared(ui): Shared<Ui>, Query(wait): Query<Wait>) -> Response {
    let topics = [Topic::Services, Topic::Checks];
    let view = |s: &State| (s.tables.services.max(s.tables.checks), ());
    let (index, ()) = block_until(&*ui.replica, &topics, wait.after(), wait.limit(), view).await;
    let answer = match ui.balancer {
        None => json!({ "Problem": "This agent runs no load balancer (lb { enabled = false })." }),
        Some(balancer) => match ui.read_routes(balancer.admin).await {
            Ok(all) => json!({
                "Listen": balancer.listen.to_string(), "Port": balancer.listen.port(),
                "AdminPort": balancer.admin.port(), "Routes": all,
            }),
            Err(why) => {
                json!({ "Problem": format!("The load balancer's admin port {} does not answer: {why}", balancer.admin) })
            }
        },
    };
    indexed(index, answer)
}

impl Ui {
    async fn read_routes(&self, admin: SocketAddr) -> Result<Value, String> {
        let uri = format!("http://{admin}/api/routes").parse().map_err(|e| format!("{e}"))?;
        let read = async {
            let answer = self.client.get(uri).await.map_err(|e| e.to_string())?;
            let body = Limited::new(answer.into_body(), MAX_ROUTES).collect().await.map_err(|e| e.to_string())?;
            serde_json::from_slice(&body.to_bytes()).map_err(|e| e.to_string())
        };
        tokio::time::timeout(ADMIN_TIMEOUT, read).await.map_err(|_| "timed out".to_owned())?
    }
}
