//! The HTTP listener of every agent: scheduler API, client API, page.

use std::{net::TcpListener, sync::Arc};

use axum::Router;
use scheduler::http::{AgentInfo, Api};

use super::{Parts, tokio_listener};
use crate::{
    agent_info::Info,
    client, http_server,
    supervise::{OnExit, Stage},
    ui,
};

/// Mount what the roles offer and serve it.
pub(super) fn start_http(
    parts: &mut Parts,
    listener: TcpListener,
    info: &Arc<Info>,
    client: Option<&client::Handle>,
) -> anyhow::Result<()> {
    let api = Api { replica: Arc::clone(&parts.replica), agent: Arc::clone(info) as Arc<dyn AgentInfo> };
    // The scheduler's API is the fallback, because it routes on the raw path; all others have paths of their own.
    let mut router: Router = scheduler::http::router(api);
    if let Some(client) = client {
        router = router.merge(client::http::router(client.clone()));
    }
    let balancer = parts.addresses.lb.zip(parts.addresses.lb_admin);
    let balancer = balancer.map(|(listen, admin)| ui::Balancer { listen, admin });
    router = router.merge(ui::router(Arc::clone(&parts.replica), balancer));
    let serve = http_server::serve(tokio_listener(listener)?, router, parts.token(Stage::Edge));
    parts.supervisor.spawn("HTTP API", Stage::Edge, OnExit::StopAgent, serve);
    Ok(())
}
