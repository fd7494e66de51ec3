//! From a raw path to the file that answers it, and what holds for every route.

use axum::{
    body::Body,
    extract::State as Extract,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, Method,
    header::{HOST, ORIGIN},
    request::Parts,
};

use super::{
    Api, Error, agent, allocs, deployments, evals, events, job, jobs, nodes, operator,
    read::Context,
    reply::Reply,
    request::{Request, Verb},
    search, services,
};

/// Families of Nomad's API that Trine answers with 501 and a sentence instead of a bare 404.
const NOT_BUILT: [(&str, &str); 16] = [
    ("acl", "access control (/v1/acl)"),
    ("vars", "the variable store (/v1/vars)"),
    ("var", "the variable store (/v1/var)"),
    ("volumes", "volume registration (/v1/volumes)"),
    ("volume", "volume registration (/v1/volume)"),
    ("plugins", "storage plugins (/v1/plugins)"),
    ("plugin", "storage plugins (/v1/plugin)"),
    ("scaling", "scaling policies (/v1/scaling)"),
    ("quotas", "quotas (/v1/quotas)"),
    ("quota", "quotas (/v1/quota)"),
    ("quota-usages", "quotas (/v1/quota-usages)"),
    ("sentinel", "policies (/v1/sentinel)"),
    ("recommendations", "recommendations (/v1/recommendations)"),
    ("recommendation", "recommendations (/v1/recommendation)"),
    ("secrets", "secrets plugins (/v1/secrets)"),
    ("client", "the client API (/v1/client) on an agent without the client role"),
];

/// The fallback handler of the router.
pub(super) async fn handle(Extract(api): Extract<Api>, request: http::Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path == "/" && (parts.method == Method::GET || parts.method == Method::HEAD) {
        let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
        return Reply::redirect(&format!("/ui/{query}")).into_response(false);
    }
    let Some(path) = path.strip_prefix("/v1/") else { return Error::NoRoute.into_response() };
    if let Err(e) = same_origin(&parts) {
        return e.into_response();
    }
    let req = match Request::read(&parts, path, body).await {
        Ok(req) => req,
        Err(e) => return e.into_response(),
    };
    let pretty = req.query.get("pretty").is_some_and(|v| v != "0");
    let (verb, path) = (req.verb, req.path.clone());
    match answer(Context { api, req }).await {
        Ok(reply) => reply.into_response(pretty),
        Err(e) => {
            if e.status().is_server_error() {
                tracing::warn!(?verb, path, error = %e, "request failed");
            } else {
                tracing::debug!(?verb, path, error = %e, "request refused");
            }
            e.into_response()
        }
    }
}

/// A page of another site must not start jobs through its visitor's browser: loopback is no protection from that.
///
/// Browsers name the page's origin on every write; other clients send none.
fn same_origin(parts: &Parts) -> Result<(), Error> {
    let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(()) };
    if parts.method == Method::GET || parts.method == Method::HEAD {
        return Ok(());
    }
    let page = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, authority)| authority);
    let text = |name: HeaderName| parts.headers.get(name).and_then(|h| h.to_str().ok());
    let host = text(HOST).or(parts.uri.authority().map(|a| a.as_str()));
    // A proxy in front names the host its visitors see; a page of another site cannot set this header.
    let forwarded = text(HeaderName::from_static("x-forwarded-host"));
    if page.is_some() && (page == host || page == forwarded) {
        return Ok(());
    }
    Err(Error::Forbidden(
        "writes from a page of another origin are refused; use this agent's own page, or the CLI".into(),
    ))
}

async fn answer(cx: Context) -> Result<Reply, Error> {
    if let Some(region) = cx.req.query.given("region")
        && region != cx.api.agent.region()
    {
        return Err(Error::Refused("No path to region".into()));
    }
    // Every replica answers from its own state; the parameter only has to be readable.
    cx.req.query.flag("stale", false)?;
    let path = cx.req.path.clone();
    let (head, rest) = path.split_once('/').unwrap_or((&path, ""));
    match head {
        "jobs" => jobs::route(&cx, rest).await,
        "job" => job::route(&cx, rest).await,
        "validate" if rest == "job" => jobs::validate(&cx),
        "nodes" if rest.is_empty() => nodes::list(&cx).await,
        "node" => nodes::route(&cx, rest).await,
        "allocations" if rest.is_empty() => allocs::list(&cx).await,
        "allocation" => allocs::route(&cx, rest).await,
        "evaluations" => evals::collection(&cx, rest).await,
        "evaluation" => evals::route(&cx, rest).await,
        "deployments" if rest.is_empty() => deployments::list(&cx).await,
        "deployment" => deployments::route(&cx, rest).await,
        "services" if rest.is_empty() => services::list(&cx).await,
        "service" => services::route(&cx, rest).await,
        "agent" => agent::route(&cx, rest).await,
        "status" | "regions" | "metrics" => agent::status(&cx, head, rest),
        "namespaces" | "namespace" => operator::namespaces(&cx, head, rest),
        "operator" => operator::route(&cx, rest),
        "system" => operator::system(&cx, rest).await,
        "search" => search::route(&cx, rest),
        "event" if rest == "stream" => events::stream(&cx),
        _ => match NOT_BUILT.iter().find(|(family, _)| *family == head) {
            Some((_, words)) => Err(Error::NotBuilt((*words).into())),
            None => Err(Error::NoRoute),
        },
    }
}

impl Context {
    /// 405 unless the verb is the one the route takes.
    pub(super) fn only(&self, verb: Verb) -> Result<(), Error> {
        if self.req.verb == verb { Ok(()) } else { Err(Error::Method) }
    }
}
