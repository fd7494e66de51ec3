//! HTTP probes: 2xx is passing, 429 warning, the rest critical.
//!
//! One connection per probe, nothing is kept. Redirects are followed only to the host that was asked, so that a
//! service cannot point its own check at something else. https needs a TLS client, which is not built.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming, header};
use hyper_util::rt::TokioIo;
use model::{catalog::CheckDefinition, check::Verdict, service::Probe};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Finding, OUTPUT_MAX};

const REDIRECTS_MAX: usize = 10;

pub(super) async fn probe(definition: &CheckDefinition) -> Finding {
    let Probe::Http { method, .. } = &definition.probe else { return Finding::critical("not an http check") };
    let method = if method.is_empty() { "GET" } else { method.as_str() };
    let url = &definition.target;
    match ask(definition, method).await {
        Ok((status, body)) => {
            let verdict = match status {
                s if s.is_success() => Verdict::Passing,
                StatusCode::TOO_MANY_REQUESTS => Verdict::Warning,
                _ => Verdict::Critical,
            };
            let body = String::from_utf8_lossy(&body);
            Finding::new(verdict, format!("HTTP {method} {url}: {status} Output: {body}"))
        }
        Err(why) => Finding::critical(format!("HTTP {method} {url}: {why}")),
    }
}

async fn ask(definition: &CheckDefinition, method: &str) -> Result<(StatusCode, Bytes), String> {
    let mut uri: Uri = definition.target.parse().map_err(|e| format!("not a URL: {e}"))?;
    for _ in 0..=REDIRECTS_MAX {
        let (response, connection) = send(definition, method, &uri).await?;
        let status = response.status();
        match redirect(definition, method, &uri, &response) {
            Some(next) => uri = next,
            None => {
                let body = read(response.into_body()).await;
                drop(connection);
                return Ok((status, body));
            }
        }
    }
    Err(format!("more than {REDIRECTS_MAX} redirects"))
}

/// One request on a connection of its own; the connection lives as long as the returned handle.
async fn send(
    definition: &CheckDefinition,
    method: &str,
    uri: &Uri,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), String> {
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err("https checks are not built; use an http or tcp check, or a script".into());
        }
        _ => return Err("the URL must begin with http://".into()),
    }
    let request = request(definition, method, uri)?;
    let host = uri.host().ok_or("the URL names no host")?.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        // Its error is the request's error, which is reported there.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    Ok((response, driver))
}

fn request(definition: &CheckDefinition, method: &str, uri: &Uri) -> Result<Request<Full<Bytes>>, String> {
    let Probe::Http { headers, body, .. } = &definition.probe else { return Err("not an http check".into()) };
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut builder = Request::builder().method(method).uri(path);
    let given = |name: &str| headers.keys().any(|k| k.eq_ignore_ascii_case(name));
    if !given("host") {
        let authority = uri.authority().ok_or("the URL names no host")?;
        builder = builder.header(header::HOST, authority.as_str());
    }
    if !given("user-agent") {
        builder = builder.header(header::USER_AGENT, "Trine Health Check");
    }
    if !given("accept") {
        builder = builder.header(header::ACCEPT, "text/plain, text/*, */*");
    }
    builder = builder.header(header::CONNECTION, "close");
    for (name, values) in headers {
        for value in values {
            builder = builder.header(name, value);
        }
    }
    builder.body(Full::new(Bytes::from(body.clone()))).map_err(|e| e.to_string())
}

/// Where to go instead, if the answer says so and we may.
fn redirect<T>(definition: &CheckDefinition, method: &str, from: &Uri, response: &Response<T>) -> Option<Uri> {
    if definition.disable_redirects || !response.status().is_redirection() || !matches!(method, "GET" | "HEAD") {
        return None;
    }
    let to = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let to = if to.starts_with('/') && !to.starts_with("//") {
        format!("{}://{}{to}", from.scheme_str()?, from.authority()?)
    } else {
        to.to_owned()
    };
    to.parse::<Uri>().ok().filter(|to| to.scheme() == from.scheme() && to.authority() == from.authority())
}

/// The beginning of the body; what cannot be read does not change the verdict.
async fn read(mut body: Incoming) -> Bytes {
    let mut kept = BytesMut::new();
    while kept.len() < OUTPUT_MAX {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    kept.extend_from_slice(&data[..data.len().min(OUTPUT_MAX - kept.len())]);
                }
            }
            Some(Err(_)) | None => break,
        }
    }
    kept.freeze()
}
