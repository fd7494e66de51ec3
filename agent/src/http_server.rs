//! One HTTP/1.1 listener of the agent: limits on everything a client can make us hold, and a bounded goodbye.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::Request;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

/// Blocking queries hold a connection each, so this is generous; beyond it new ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADERS: usize = 128;
/// No request of any API is larger; each API has lower limits of its own.
const MAX_BODY: usize = 32 << 20;
/// Blocking queries are cut off, not waited for.
const DRAIN: Duration = Duration::from_millis(500);

/// Serve `router` until told to stop. Ends early only if the listener itself breaks.
pub async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let hard_stop = CancellationToken::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, or the peer is gone already: neither ends the listener.
                warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(e) = stream.set_nodelay(true) {
            debug!(error = %e, %peer, "no TCP_NODELAY");
        }
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service(router.clone(), peer));
        let watched = graceful.watch(connection);
        let hard_stop = hard_stop.clone();
        tokio::spawn(async move {
            let result = tokio::select! {
                result = watched => result,
                () = hard_stop.cancelled() => Ok(()),
            };
            if let Err(e) = result {
                debug!(error = %e, %peer, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        hard_stop.cancel();
    }
    Ok(())
}

/// The router as one connection's service.
fn service(
    router: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<Request<Incoming>, Response = axum::response::Response, Error = Infallible, Future: Send>
{
    hyper::service::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(|body| Body::new(Limited::new(body, MAX_BODY)));
            request.extensions_mut().insert(ConnectInfo(peer));
            router.oneshot(request).await
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn answers_and_cuts_off_waiters_when_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let arrived = Arc::new(tokio::sync::Notify::new());
        let bell = Arc::clone(&arrived);
        let wait = || async move {
            bell.notify_one();
            std::future::pending::<()>().await;
        };
        let router = Router::new()
            .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
            .route("/wait", get(wait));
        let server = tokio::spawn(serve(listener, router, cancel.clone()));
        let ask = |path: &'static str| async move {
            let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            // A connection that is cut off may be reset.
            stream.read_to_string(&mut text).await.map(|_| text).unwrap_or_default()
        };
        assert!(ask("/").await.ends_with("127.0.0.1"));
        let waiter = tokio::spawn(ask("/wait"));
        // Only a connection that is being served is cut off; one in the kernel's queue is reset.
        tokio::time::timeout(Duration::from_secs(5), arrived.notified()).await.unwrap();
        cancel.cancel();
        tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
        assert_eq!(waiter.await.unwrap(), "");
    }
}
