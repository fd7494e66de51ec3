//! gRPC probes: `grpc.health.v1.Health/Check` over plain HTTP/2. SERVING is passing, all else critical.
//!
//! The two messages have one field each, so they are written and read here by hand. TLS is not built.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::check::Verdict;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Finding, OUTPUT_MAX};

const SERVING: u8 = 1;

pub(super) async fn probe(target: &str, service: &str, tls: bool) -> Finding {
    if tls {
        return Finding::critical("gRPC checks over TLS are not built; use a plain gRPC, http or tcp check");
    }
    // `host:port/service` is the other way to name the service.
    let (address, in_target) = target.split_once('/').unwrap_or((target, ""));
    let service = if service.is_empty() { in_target } else { service };
    match ask(address, service).await {
        Ok(SERVING) => Finding::new(Verdict::Passing, format!("gRPC check {target}: success")),
        Ok(status) => Finding::critical(format!("gRPC check {target}: {}", word(status))),
        Err(why) => Finding::critical(format!("gRPC check {target}: {why}")),
    }
}

async fn ask(address: &str, service: &str) -> Result<u8, String> {
    let message = encode(service)?;
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(async move {
        // Its error is the request's error, which is reported there.
        let _ = connection.await;
    }));
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "Trine Health Check")
        .body(Full::new(message))
        .map_err(text)?;
    let response = sender.send_request(request).await.map_err(text)?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()));
    }
    let early = grpc_error(response.headers());
    let body = Limited::new(response.into_body(), OUTPUT_MAX).collect().await.map_err(|e| e.to_string())?;
    if let Some(why) = early.or_else(|| body.trailers().and_then(grpc_error)) {
        return Err(why);
    }
    decode(&body.to_bytes())
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// The error a response carries, if it does.
fn grpc_error(headers: &header::HeaderMap) -> Option<String> {
    let status = headers.get("grpc-status")?.to_str().unwrap_or("?");
    if status == "0" {
        return None;
    }
    let message = headers.get("grpc-message").and_then(|m| m.to_str().ok()).unwrap_or_default();
    Some(format!("gRPC status {status} {message}"))
}

/// `HealthCheckRequest { service = 1 }` behind the five bytes of a gRPC frame.
fn encode(service: &str) -> Result<Bytes, String> {
    let length = u8::try_from(service.len()).ok().filter(|n| *n < 128).ok_or("the service name is over 127 bytes")?;
    let mut message = BytesMut::new();
    if length > 0 {
        message.put_u8(0x0a);
        message.put_u8(length);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::from(length) + if length > 0 { 2 } else { 0 });
    framed.put_slice(&message);
    Ok(framed.freeze())
}

/// The status of `HealthCheckResponse { status = 1 }`.
fn decode(framed: &[u8]) -> Result<u8, String> {
    match framed {
        [0, 0, 0, 0, 0, ..] => Ok(0),
        [0, _, _, _, _, 0x08, status, ..] => Ok(*status),
        _ => Err("an answer that is not a HealthCheckResponse".into()),
    }
}

const fn word(status: u8) -> &'static str {
    match status {
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "an unknown status",
    }
}
