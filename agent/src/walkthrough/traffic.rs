//! Requests through the load balancer: a fixed number, or a stream that goes on while something else happens.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use tokio::task::JoinSet;

use super::{Reason, missing};
use crate::cli::client::Client;

/// Requests that are on their way at the same time.
const WORKERS: usize = 8;
/// The stream leaves the machine some air, so that deploying is not measured under overload.
const STREAM_WORKERS: usize = 4;
const STREAM_PAUSE: Duration = Duration::from_millis(3);

/// What came back.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub ok: usize,
    pub failed: usize,
    pub first_failure: Option<String>,
    /// Good answers by instance address.
    pub by_instance: BTreeMap<String, usize>,
    /// Good answers of the new version.
    pub updated: usize,
}

impl Tally {
    fn add(&mut self, answer: Result<String, String>) {
        match answer {
            Ok(text) => {
                self.ok += 1;
                self.updated += usize::from(text.contains("Update successful!"));
                let address = text.split_whitespace().next_back().unwrap_or_default();
                *self.by_instance.entry(address.to_owned()).or_default() += 1;
            }
            Err(reason) => {
                self.failed += 1;
                self.first_failure.get_or_insert(reason);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.updated += other.updated;
        if self.first_failure.is_none() {
            self.first_failure = other.first_failure;
        }
        for (instance, n) in other.by_instance {
            *self.by_instance.entry(instance).or_default() += n;
        }
    }

    /// Every request was answered by an instance.
    pub fn expect_no_failure(&self) -> Result<(), Reason> {
        match &self.first_failure {
            None => Ok(()),
            Some(first) => {
                missing(format!("{} of {} requests failed; the first: {first}", self.failed, self.ok + self.failed))
            }
        }
    }
}

async fn one(client: &Client, path: &str) -> Result<String, String> {
    match client.raw(Method::GET, path, None).await {
        Ok(body) => {
            let text = String::from_utf8_lossy(&body).into_owned();
            if text.contains("Hello and welcome") { Ok(text) } else { Err(format!("an unexpected answer: {text:?}")) }
        }
        Err(e) => Err(e.to_string()),
    }
}

/// Send `count` requests.
pub(super) async fn burst(balancer: SocketAddr, path: &'static str, count: usize) -> Result<Tally, Reason> {
    let sent = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let client = Client::balancer(Some(&balancer.to_string()))?;
        let sent = Arc::clone(&sent);
        workers.spawn(async move {
            let mut tally = Tally::default();
            while sent.fetch_add(1, Ordering::Relaxed) < count {
                tally.add(one(&client, path).await);
            }
            tally
        });
    }
    Ok(sum(workers).await)
}

/// Requests that go on until [`Stream::stop`].
pub(super) struct Stream {
    stop: Arc<AtomicBool>,
    workers: JoinSet<Tally>,
}

impl Stream {
    pub fn start(balancer: SocketAddr, path: &'static str) -> Result<Self, Reason> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for _ in 0..STREAM_WORKERS {
            let client = Client::balancer(Some(&balancer.to_string()))?;
            let stop = Arc::clone(&stop);
            workers.spawn(async move {
                let mut tally = Tally::default();
                while !stop.load(Ordering::Relaxed) {
                    tally.add(one(&client, path).await);
                    tokio::time::sleep(STREAM_PAUSE).await;
                }
                tally
            });
        }
        Ok(Self { stop, workers })
    }

    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        sum(self.workers).await
    }
}

async fn sum(mut workers: JoinSet<Tally>) -> Tally {
    let mut total = Tally::default();
    while let Some(done) = workers.join_next().await {
        match done {
            Ok(tally) => total.merge(tally),
            Err(e) => total.add(Err(format!("a worker of the walkthrough itself ended: {e}"))),
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_knows_instances_versions_and_the_first_failure() {
        let mut tally = Tally::default();
        tally.add(Ok("Hello and welcome to 127.0.0.1:1\n".into()));
        tally.add(Ok("Update successful!\n\nHello and welcome to 127.0.0.1:2\n".into()));
        assert!(tally.expect_no_failure().is_ok());
        let mut other = Tally::default();
        other.add(Err("502".into()));
        other.add(Err("503".into()));
        tally.merge(other);
        assert_eq!((tally.ok, tally.failed, tally.updated), (2, 2, 1));
        assert_eq!(tally.by_instance.keys().collect::<Vec<_>>(), ["127.0.0.1:1", "127.0.0.1:2"]);
        let error = tally.expect_no_failure().unwrap_err().to_string();
        assert!(error.contains("2 of 4") && error.contains("502"), "{error}");
    }
}
