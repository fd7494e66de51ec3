//! A web server that answers every request with one text, as HashiCorp's http-echo does.
//!
//! Owns: its socket, the answers, one log line per request on stdout. `/health` answers `{"status":"ok"}`. It ends on
//! SIGINT and SIGTERM, letting requests in flight finish for a moment.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::Semaphore};

/// Connections beyond this wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in flight may take once we were told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// What to answer, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port`, `:port` for every address.
    pub listen: String,
    pub text: String,
    pub status: u16,
}

/// `:80` means every address, IPv4 and IPv6 where the host has it.
async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let hint = || format!("cannot listen on {listen:?}: choose another -listen host:port");
    let Some(port) = listen.strip_prefix(':') else {
        return TcpListener::bind(listen).await.with_context(hint);
    };
    let port: u16 =
        port.parse().with_context(|| format!("-listen {listen:?}: the port is a number from 0 to 65535"))?;
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        // A host without IPv6. Any other cause shows again on this second attempt.
        Err(_) => TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await.with_context(hint),
    }
}

/// Serve until a signal.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = bind(&config.listen).await?;
    println!("{} [INFO] server is listening on {}", log_time(SystemTime::now()), listener.local_addr()?);
    let stop = async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    accept(listener, Arc::new(config), stop).await;
    Ok(())
}

async fn accept(listener: TcpListener, config: Arc<Config>, stop: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: let some close.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        // A lost TCP_NODELAY costs latency, nothing else.
        let _ = stream.set_nodelay(true);
        let config = Arc::clone(&config);
        let service = hyper::service::service_fn(move |request| {
            let response = answer(&config, &request, peer);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away mid-request is no concern of ours.
            let _ = watched.await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

fn answer(config: &Config, request: &Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
    let started = Instant::now();
    let health = request.uri().path() == "/health";
    let (status, kind, body) = if health {
        (StatusCode::OK, "application/json; charset=utf-8", "{\"status\":\"ok\"}".to_owned())
    } else {
        let status = StatusCode::from_u16(config.status).unwrap_or(StatusCode::OK);
        (status, "text/plain; charset=utf-8", format!("{}\n", config.text))
    };
    log(request, peer, status, body.len(), started);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    headers.insert("x-app-name", http::HeaderValue::from_static("http-echo"));
    headers.insert("x-app-version", http::HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    response
}

fn log(request: &Request<Incoming>, peer: SocketAddr, status: StatusCode, size: usize, started: Instant) {
    use std::io::Write as _;
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let peer = SocketAddr::new(plain(peer.ip()), peer.port());
    // A closed stdout must not end the server, so the result is not looked at.
    let _ = writeln!(
        std::io::stdout(),
        "{} {} {} \"{} {} {:?}\" {} {} \"{}\" {:?}",
        log_time(SystemTime::now()),
        header(http::header::HOST),
        peer,
        request.method(),
        request.uri().path(),
        request.version(),
        status.as_u16(),
        size,
        header(http::header::USER_AGENT),
        started.elapsed(),
    );
}

/// `127.0.0.1` rather than `::ffff:127.0.0.1`.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// `2026/11/22 13:10:00`, UTC.
pub(crate) fn log_time(now: SystemTime) -> String {
    let secs = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}/{month:02}/{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Days since 1970-01-01 as year, month, day (Gregorian). Counts years from March, so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
        assert_eq!(log_time(SystemTime::UNIX_EPOCH + Duration::from_secs(86_399)), "1970/01/01 23:59:59");
    }

    async fn get(addr: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn answers_the_text_everywhere_and_health_on_its_path() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let config = Config { listen: String::new(), text: "hi\nthere".into(), status: 418 };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(accept(listener, Arc::new(config), async { drop(stopped.await) }));
        let teapot = get(addr, "/some/where?x=1").await;
        assert!(teapot.starts_with("HTTP/1.1 418"), "{teapot}");
        assert!(teapot.ends_with("\r\n\r\nhi\nthere\n"), "{teapot}");
        let health = get(addr, "/health").await;
        assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("{\"status\":\"ok\"}"), "{health}");
        drop(stop);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_bad_address_says_what_to_do() {
        let error = bind(":http").await.unwrap_err();
        assert!(format!("{error:#}").contains("the port is a number"), "{error:#}");
    }
}
