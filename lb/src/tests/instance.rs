//! A small server that stands for an instance: says who it is and what it got.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

pub struct Server {
    pub addr: SocketAddr,
    pub hits: Arc<AtomicUsize>,
    /// Requests after this was set count as strays.
    pub closed: Arc<AtomicBool>,
    pub strays: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers `name` on the first line, then the request as it arrived. `/slow` takes a while.
    pub async fn new(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("bound");
        let (hits, strays, connections) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let closed = Arc::<AtomicBool>::default();
        let state = (Arc::clone(&hits), Arc::clone(&closed), Arc::clone(&strays));
        let count: Arc<AtomicUsize> = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let state = state.clone();
                all.spawn(async move {
                    let service = service_fn(move |r| answer(name, r, state.clone()));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { addr, hits, closed, strays, connections, task }
    }

    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// Stop listening and cut every connection, as a killed task does.
    pub fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Shared = (Arc<AtomicUsize>, Arc<AtomicBool>, Arc<AtomicUsize>);

async fn answer(name: &str, request: Request<Incoming>, state: Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let (hits, closed, strays) = state;
    hits.fetch_add(1, Ordering::SeqCst);
    if closed.load(Ordering::SeqCst) {
        strays.fetch_add(1, Ordering::SeqCst);
    }
    let (head, body) = request.into_parts();
    if head.uri.path().ends_with("/slow") {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let mut out = format!("{name}\n{} {}\n", head.method, head.uri);
    for (k, v) in &head.headers {
        out.push_str(&format!("{k}: {}\n", String::from_utf8_lossy(v.as_bytes())));
    }
    out.push('\n');
    out.push_str(&String::from_utf8_lossy(&body));
    Ok(Response::new(Full::new(out.into())))
}
