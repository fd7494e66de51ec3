//! One request, from the client's head to the instance's last byte.
//!
//! ```text
//!  admit ─► canonical path ─► table ─► redirect │ pick ─► connect ─► send ─► relay
//!                                               ▲ next instance │     │
//!                                               └───────────────┴─────┘ only while repeating is safe
//! ```
//! Safe means: the request never left this process, or it is without a body and its method promises no effect. A
//! request that failed in any other way is answered 502 or 504, never sent twice.

use std::{borrow::Cow, cell::RefCell, convert::Infallible, rc::Rc, sync::Arc, time::Instant};

use arc_swap::{ArcSwap, cache::Cache};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use hyper::body::{Body, Incoming};
use tracing::debug;

use crate::{
    config::Config,
    table::Table,
    tag::{HostHeader, RouteSpec},
    target::InFlight,
};

pub mod answer;
pub mod body;
pub mod front;
pub mod gate;
pub mod headers;
pub mod io;
pub mod path;
pub mod pick;
pub mod rewrite;
pub mod tunnel;
pub mod upstream;

use answer::Refusal;
use body::{AnswerBody, Relay, RequestBody};
use headers::Peer;
use pick::Pick;
use tunnel::Tunnel;
use upstream::{Pool, Upstream};

/// What all connections of one core share. Never leaves its thread.
pub struct Core {
    pub lane: usize,
    pub config: Arc<Config>,
    pub table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    pub pool: Rc<Pool>,
    pub dice: crate::pick::Dice,
    pub scratch: front::Scratch,
    pub counters: Arc<crate::core::Counters>,
}

/// One client connection.
pub struct Session {
    pub core: Rc<Core>,
    pub peer: Peer,
    /// Set by the request that left HTTP; the connection's task takes it over.
    pub tunnel: RefCell<Option<Tunnel>>,
}

/// A request that may be served: what the way through needs to know of it.
struct Admitted {
    /// Empty where the client named none (HTTP/1.0).
    host: HeaderValue,
    /// Path and query, with the path in its canonical spelling.
    target: PathAndQuery,
    websocket: bool,
}

/// Serve one request. Never fails: trouble becomes an answer.
pub async fn serve(session: Rc<Session>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
    session.core.counters.requests(session.core.lane);
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let mut answer = match forward(&session, request).await {
        Ok(response) => response,
        Err(refusal) => {
            session.core.counters.refused(session.core.lane, refusal.status);
            refusal.into_response()
        }
    };
    // The gate looks no further once an upgrade was asked for, so no other request may follow on the connection.
    if upgrade && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

async fn forward(session: &Session, request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
    let core = &session.core;
    let admitted = admit(&request)?;
    let (head, body) = request.into_parts();
    let mut outgoing = Outgoing::new(session, head, body, &admitted);
    let mut tried = Vec::new();
    let mut last = None;
    while tried.len() < core.config.attempts {
        let (spec, in_flight) = match pick::pick(core, &admitted, &outgoing.headers, &tried) {
            Pick::Instance(spec, in_flight) => (spec, in_flight),
            Pick::Redirect(status, to) => {
                return answer::redirect(status, &to)
                    .ok_or_else(|| Refusal::new(StatusCode::BAD_GATEWAY, "the route's redirect target is no URL"));
            }
            Pick::Down(service) => {
                return Err(Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("service {service} has no instance that passes its health checks"),
                ));
            }
            Pick::Exhausted => break,
            Pick::NoRoute => {
                core.counters.no_route(core.lane);
                let status = StatusCode::from_u16(core.config.no_route_status).unwrap_or(StatusCode::NOT_FOUND);
                let page = core.table.borrow_mut().load().no_route_page.clone();
                return Ok(answer::no_route(status, page.as_ref(), &outgoing.headers));
            }
        };
        tried.push(in_flight.target().id);
        match attempt(session, &mut outgoing, &admitted, &spec, in_flight).await {
            Attempt::Answered(response) => return Ok(response),
            Attempt::Over(refusal) => return Err(refusal),
            Attempt::Next(refusal) => last = Some(refusal),
        }
    }
    Err(last.unwrap_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "every instance is leaving")))
}

/// Look at a request before anything is done for it.
fn admit(request: &Request<Incoming>) -> Result<Admitted, Refusal> {
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return Err(Refusal { close: true, ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not offered") });
    }
    if headers::hops(headers) >= headers::MAX_HOPS {
        return Err(Refusal::new(StatusCode::LOOP_DETECTED, "the route leads back to the load balancer"));
    }
    if headers.get(header::EXPECT).is_some_and(|e| !e.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::new(StatusCode::EXPECTATION_FAILED, "the only expectation known is 100-continue"));
    }
    let uri = request.uri();
    let host = match (headers::host_of(headers), request.version()) {
        (Ok(host), _) => host.clone(),
        // HTTP/1.0 knows no Host.
        (Err(_), Version::HTTP_10) if !headers.contains_key(header::HOST) => HeaderValue::from_static(""),
        (Err(reason), _) => return Err(Refusal::bad(reason)),
    };
    if let Some(authority) = uri.authority() {
        let same = authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
        if uri.scheme_str() != Some("http") || !same {
            return Err(Refusal::bad("the request line names another host than the Host header"));
        }
    }
    let target = match (path::canonical(uri.path()).map_err(Refusal::bad)?, uri.path_and_query()) {
        (Cow::Borrowed(_), Some(given)) => given.clone(),
        (path, _) => rewrite::join(&path, uri.query())
            .parse()
            .map_err(|_| Refusal::bad("the path is no URI once it is in its canonical spelling"))?,
    };
    Ok(Admitted {
        host,
        target,
        websocket: request.version() == Version::HTTP_11
            && request.method() == Method::GET
            && headers::wants_websocket(headers),
    })
}

/// A request on its way out, as long as it may have to be sent again.
struct Outgoing {
    method: Method,
    headers: HeaderMap,
    body: Option<RequestBody>,
    /// Whether sending it a second time can do no harm even if the first was received.
    repeatable: bool,
}

impl Outgoing {
    fn new(session: &Session, head: http::request::Parts, body: Incoming, admitted: &Admitted) -> Self {
        let http::request::Parts { method, mut headers, .. } = head;
        let hops = headers::hops(&headers);
        headers::strip_hop_by_hop(&mut headers);
        headers::strip_twins(&mut headers);
        // hyper has asked the client for its body already, and instances get it without asking.
        let held_back = headers.remove(header::EXPECT).is_some();
        session.peer.vouch(&mut headers, &admitted.host);
        headers.insert(headers::HOPS.clone(), HeaderValue::from(hops + 1));
        if admitted.websocket {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        let repeatable = method.is_safe() && body.is_end_stream();
        let body = Some(RequestBody::new(body, session.core.config.stall_timeout, held_back));
        Self { method, headers, body, repeatable }
    }

    /// The request for one instance. The headers stay behind if it may have to be repeated.
    fn request(
        &mut self,
        admitted: &Admitted,
        spec: &RouteSpec,
        in_flight: &InFlight,
    ) -> Result<Request<RequestBody>, Refusal> {
        let target = match rewrite::target(&admitted.target, spec) {
            None => admitted.target.clone(),
            Some(text) => text.parse().map_err(|_| Refusal::bad("the path is no URI once it is rewritten"))?,
        };
        let mut headers = if self.repeatable { self.headers.clone() } else { std::mem::take(&mut self.headers) };
        let host = match &spec.host_header {
            HostHeader::Client if !admitted.host.is_empty() => Ok(admitted.host.clone()),
            HostHeader::Client | HostHeader::Instance => HeaderValue::from_str(&in_flight.target().key.authority),
            HostHeader::Fixed(name) => HeaderValue::from_str(name),
        };
        let host = host.map_err(|_| Refusal::new(StatusCode::BAD_GATEWAY, "the route's host is no header value"))?;
        headers.insert(header::HOST, host);
        if let Some(prefix) = spec.strip.as_deref().and_then(|p| HeaderValue::from_str(p).ok()) {
            headers.insert(headers::X_FORWARDED_PREFIX.clone(), prefix);
        }
        let body = self.body.take().unwrap_or_else(RequestBody::empty);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Take back a request that was never written.
    fn restore(&mut self, request: Request<RequestBody>) {
        let (head, body) = request.into_parts();
        self.headers = head.headers;
        self.body = Some(body);
    }
}

enum Attempt {
    Answered(Response<AnswerBody>),
    /// It failed, and another instance may be tried.
    Next(Refusal),
    /// It failed for good.
    Over(Refusal),
}

async fn attempt(
    session: &Session,
    outgoing: &mut Outgoing,
    admitted: &Admitted,
    spec: &Arc<RouteSpec>,
    in_flight: InFlight,
) -> Attempt {
    let core = &session.core;
    let service = in_flight.target().key.service.clone();
    let unreachable = |error: upstream::ConnectError| {
        debug!(%error, target = %in_flight.target().key.authority, %service, "cannot connect to an instance");
        in_flight.failed();
        in_flight.target().suspect();
        let text = format!("no instance of service {service} accepted the connection");
        Attempt::Next(Refusal::new(StatusCode::BAD_GATEWAY, text))
    };
    if admitted.websocket {
        let (upstream, handover) = match core.pool.open_for_upgrade(in_flight.target()).await {
            Ok(opened) => opened,
            Err(error) => return unreachable(error),
        };
        return match send(core, outgoing, admitted, spec, in_flight, upstream).await {
            Ok(sent) => tunnel::answer(session, sent, handover).await,
            Err(failed) => failed,
        };
    }
    let upstream = match core.pool.take(in_flight.target(), outgoing.repeatable).await {
        Ok(upstream) => upstream,
        Err(error) => return unreachable(error),
    };
    match send(core, outgoing, admitted, spec, in_flight, upstream).await {
        Ok(Sent { response, .. }) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Attempt::Over(
            Refusal::new(StatusCode::BAD_GATEWAY, format!("service {service} switched protocols unasked")),
        ),
        Ok(sent) => Attempt::Answered(relay(sent)),
        Err(failed) => failed,
    }
}

/// An instance's answer has begun.
pub struct Sent {
    pub response: Response<Incoming>,
    pub upstream: Upstream,
    pub in_flight: InFlight,
}

async fn send(
    core: &Core,
    outgoing: &mut Outgoing,
    admitted: &Admitted,
    spec: &RouteSpec,
    in_flight: InFlight,
    mut upstream: Upstream,
) -> Result<Sent, Attempt> {
    let request = outgoing.request(admitted, spec, &in_flight).map_err(Attempt::Over)?;
    let upload = request.body().upload();
    let service = &in_flight.target().key.service;
    let started = Instant::now();
    let limit = core.config.response_timeout;
    match upload.in_time(limit, upstream.sender.try_send_request(request)).await {
        Ok(Ok(response)) => {
            if !headers::clear_length(response.version(), response.headers()) {
                in_flight.failed();
                let text = format!("service {service} sent an answer without one clear length");
                return Err(Attempt::Over(Refusal::new(StatusCode::BAD_GATEWAY, text)));
            }
            in_flight.target().clear();
            in_flight.answered(started.elapsed(), response.status().is_server_error());
            Ok(Sent { response, upstream, in_flight })
        }
        Err(body::Late) => {
            in_flight.failed();
            let text = format!("service {service} did not answer within {} s", limit.as_secs());
            Err(Attempt::Over(Refusal { close: true, ..Refusal::new(StatusCode::GATEWAY_TIMEOUT, text) }))
        }
        Ok(Err(mut failed)) => {
            if upload.failed() {
                return Err(Attempt::Over(Refusal::bad("the request body did not arrive")));
            }
            let unsent = failed.take_message();
            let safe = unsent.is_some() || outgoing.repeatable;
            // An idle connection that was closed under us says nothing about the instance.
            if !upstream.reused {
                in_flight.failed();
                in_flight.target().suspect();
            }
            if let Some(request) = unsent {
                outgoing.restore(request);
            }
            let error = failed.into_error();
            debug!(%error, %service, target = %in_flight.target().key.authority, safe, "an instance did not answer");
            let refusal = Refusal::new(StatusCode::BAD_GATEWAY, format!("service {service} closed the connection"));
            Err(if safe { Attempt::Next(refusal) } else { Attempt::Over(Refusal { close: true, ..refusal }) })
        }
    }
}

/// Pass an answer on, without what concerned only its connection.
fn relay(sent: Sent) -> Response<AnswerBody> {
    let Sent { response, upstream, in_flight } = sent;
    let (mut head, body) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    Response::from_parts(head, AnswerBody::Instance(Relay::new(body, upstream, in_flight)))
}
