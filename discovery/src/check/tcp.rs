//! TCP probes: a connection that opens is passing.

use model::check::Verdict;
use tokio::net::TcpStream;

use super::Finding;

pub(super) async fn probe(target: &str) -> Finding {
    match TcpStream::connect(target).await {
        Ok(_) => Finding::new(Verdict::Passing, format!("TCP connect {target}: Success")),
        Err(e) => Finding::critical(format!("TCP connect {target}: {e}")),
    }
}
