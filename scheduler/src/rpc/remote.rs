//! [`RemoteReplica`]: the state of an agent that is no server, fed by a server's log.
//!
//! ```text
//!  connect ─► Hello ─► (chunks ─► State::decode) ─► entries ─► apply, publish, wake ─► …
//!     ▲                                                           │ silence, error
//!     └──────────────── backoff, next server ◄────────────────────┘   the state stays and is read on
//! ```

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use model::{
    Command, Index, LbId, Replica, State,
    command::{Applied, Rejected},
    replica::{Leadership, ProposeError, Waiters},
};
use rand::RngExt;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use super::{
    MAX_MESSAGE, follow, outcome,
    proto::{Entries, FollowRequest, Frame, ProposeRequest, frame::Kind, replica_client::ReplicaClient},
};
use crate::{Error, raft};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence after which a server counts as gone.
const SILENCE: Duration = Duration::from_secs(5);
/// Longer than the server's own limit, so that its answer is the one that is seen.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(35);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The largest snapshot taken from a server.
const MAX_SNAPSHOT: usize = 2 << 30;

/// Whom to follow, and as whom.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// `host:port` of the servers' RPC, tried in turn.
    pub servers: Vec<String>,
    /// This agent's name.
    pub agent: String,
    /// The load balancer in this agent, if there is one: servers register it while the stream lasts.
    pub balancer: Option<LbId>,
}

/// A replica fed over the network.
#[derive(Debug)]
pub struct RemoteReplica {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: RemoteConfig,
    endpoints: Vec<Endpoint>,
    state: ArcSwap<State>,
    waiters: Waiters,
    leadership: watch::Sender<Leadership>,
    /// The first whole state has arrived.
    synced: watch::Sender<bool>,
    contact: Mutex<Instant>,
    /// For proposals, while connected. Apart from the stream, so that a large snapshot does not delay them.
    channel: ArcSwapOption<Channel>,
}

impl RemoteReplica {
    /// Begin to follow; returns at once. Reads see an empty state until [`Self::synced`].
    ///
    /// # Errors
    /// An address that cannot be one.
    pub fn connect(config: RemoteConfig, cancel: CancellationToken) -> Result<Arc<Self>, Error> {
        let endpoints = config.servers.iter().map(|s| endpoint(s)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(Error::BadAddress(String::new()));
        }
        let shared = Arc::new(Shared {
            config,
            endpoints,
            state: ArcSwap::from_pointee(State::default()),
            waiters: Waiters::default(),
            leadership: watch::Sender::new(Leadership::default()),
            synced: watch::Sender::new(false),
            contact: Mutex::new(Instant::now()),
            channel: ArcSwapOption::empty(),
        });
        tokio::spawn(run(Arc::clone(&shared), cancel));
        Ok(Arc::new(Self { shared }))
    }

    /// Until the first whole state has arrived.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives as long as `self`.
        let _ended = synced.wait_for(|s| *s).await;
    }
}

fn endpoint(server: &str) -> Result<Endpoint, Error> {
    let bad = || Error::BadAddress(server.to_owned());
    let (host, port) = server.rsplit_once(':').ok_or_else(bad)?;
    let port_ok = port.parse::<u16>().is_ok_and(|p| p > 0);
    if !port_ok || (host.is_empty() || host.contains(['/', '@', '?', '#'])) && server.parse::<SocketAddr>().is_err() {
        return Err(bad());
    }
    let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(|_| bad())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20))
}

fn client(channel: Channel) -> ReplicaClient<Channel> {
    ReplicaClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
}

/// Follow one server after the other until cancelled.
async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut backoff = BACKOFF_MIN;
    let mut cluster = None;
    for endpoint in shared.endpoints.iter().cycle() {
        let server = endpoint.uri().authority().map_or_else(String::new, ToString::to_string);
        let started = Instant::now();
        let ended = tokio::select! {
            () = cancel.cancelled() => break,
            Err(ended) = follow_one(&shared, endpoint, &mut cluster) => ended,
        };
        shared.channel.store(None);
        // A statement of its own: the borrow must have ended when the new value is sent.
        let term = shared.leadership.borrow().term;
        shared.lead(Leadership { term, ..Leadership::default() });
        // A stream that lasted proves the server well; begin again quickly.
        if started.elapsed() > SILENCE {
            backoff = BACKOFF_MIN;
        }
        let pause = backoff.mul_f64(rand::rng().random_range(0.5..1.5));
        tracing::warn!(%server, error = %ended, "lost the server; answering from the last state, trying again");
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
    shared.channel.store(None);
}

/// Why following a server ended. There is always a reason: a server does not end a stream by itself.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Status(Box<Status>),
    #[error("nothing heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error("it ended the stream")]
    Closed,
    #[error("it sent {0}")]
    Nonsense(String),
    /// The state that was sent was written by a newer trine, or is damaged.
    #[error("{0}; if the servers were upgraded, upgrade this agent too")]
    Unreadable(String),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

async fn follow_one(shared: &Shared, endpoint: &Endpoint, cluster: &mut Option<Uuid>) -> Result<Infallible, Ended> {
    let channel = endpoint.connect().await?;
    let request = FollowRequest {
        cluster: cluster.map_or_else(Bytes::new, |c| Bytes::copy_from_slice(c.as_bytes())),
        index: shared.state.load().index.0,
        agent: shared.config.agent.clone(),
        balancer: shared.config.balancer.map_or_else(Bytes::new, |b| Bytes::copy_from_slice(b.0.as_bytes())),
    };
    let mut client = client(channel);
    let answer = tokio::time::timeout(SILENCE, client.follow(request)).await.map_err(|_| Ended::Silent)??;
    let mut stream = answer.into_inner();
    let Some(Kind::Hello(hello)) = next(shared, &mut stream).await? else {
        return Err(Ended::Nonsense("no greeting".to_owned()));
    };
    let theirs = Uuid::from_slice(&hello.cluster).map_err(|e| Ended::Nonsense(format!("no cluster id: {e}")))?;
    if cluster.is_some_and(|ours| ours != theirs) {
        tracing::warn!(cluster = %theirs, "this server belongs to another cluster; taking its state");
    }
    let mut same = *cluster == Some(theirs);
    shared.channel.store(Some(Arc::new(endpoint.connect_lazy())));
    let mut snapshot = BytesMut::new();
    loop {
        match next(shared, &mut stream).await? {
            Some(Kind::Chunk(chunk)) => {
                if snapshot.len() + chunk.data.len() > MAX_SNAPSHOT {
                    return Err(Ended::Nonsense(format!("a snapshot larger than {MAX_SNAPSHOT} bytes")));
                }
                snapshot.extend_from_slice(&chunk.data);
                if chunk.last {
                    shared.replace(std::mem::take(&mut snapshot).freeze()).await?;
                    *cluster = Some(theirs);
                    same = true;
                }
            }
            Some(Kind::Entries(entries)) if same => shared.apply(entries)?,
            Some(Kind::Entries(_)) => return Err(Ended::Nonsense("entries before a snapshot".to_owned())),
            Some(Kind::Pulse(pulse)) => {
                let leader = Some(pulse.leader).filter(|l| !l.is_empty());
                shared.lead(Leadership { is_leader: false, leader, term: pulse.term });
            }
            Some(Kind::Hello(_)) | None => return Err(Ended::Nonsense("a frame this agent does not know".to_owned())),
        }
    }
}

async fn next(shared: &Shared, stream: &mut Streaming<Frame>) -> Result<Option<Kind>, Ended> {
    let frame = tokio::time::timeout(SILENCE.max(follow::PULSE * 3), stream.message());
    let frame = frame.await.map_err(|_| Ended::Silent)??.ok_or(Ended::Closed)?;
    *shared.contact.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    Ok(frame.kind)
}

impl Shared {
    fn lead(&self, now: Leadership) {
        self.leadership.send_if_modified(|old| {
            let differs = *old != now;
            *old = now;
            differs
        });
    }

    async fn replace(&self, bytes: Bytes) -> Result<(), Ended> {
        let decoded = tokio::task::spawn_blocking(move || State::decode(&bytes)).await;
        let state = match decoded {
            Ok(Ok(state)) => state,
            Ok(Err(error)) => return Err(Ended::Unreadable(error.to_string())),
            Err(error) => return Err(Ended::Unreadable(format!("decoding the state failed: {error}"))),
        };
        let index = state.index;
        self.state.store(Arc::new(state));
        self.waiters.replaced(index);
        self.synced.send_replace(true);
        tracing::info!(%index, "the state of the cluster has arrived");
        Ok(())
    }

    /// Apply a batch and publish once. What came before a bad entry is published too.
    fn apply(&self, batch: Entries) -> Result<(), Ended> {
        let mut state = State::clone(&self.state.load());
        let mut touched = BTreeSet::new();
        let mut result = Ok(());
        for entry in batch.entries {
            let expected = state.index.0 + 1;
            if entry.index != expected {
                result = Err(Ended::Nonsense(format!("entry {} where {expected} was due", entry.index)));
                break;
            }
            if let Err(error) = raft::apply_bytes(&mut state, Index(entry.index), &entry.command, &mut touched) {
                result = Err(Ended::Unreadable(error.to_string()));
                break;
            }
        }
        let index = state.index;
        self.state.store(Arc::new(state));
        self.waiters.published(index, &touched);
        result
    }

    async fn forward(&self, command: Vec<u8>) -> Result<Applied, ProposeError> {
        // Not connected: it certainly was not sent.
        let Some(channel) = self.channel.load_full() else { return Err(ProposeError::NoLeader) };
        let mut client = client(Channel::clone(&channel));
        let call = client.propose(ProposeRequest { command: command.into() });
        match tokio::time::timeout(PROPOSE_TIMEOUT, call).await {
            Ok(Ok(answer)) => outcome::decode(&answer.into_inner().outcome),
            Ok(Err(status)) => Err(match status.code() {
                Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted => {
                    Rejected::Invalid(status.message().to_owned()).into()
                }
                _ => ProposeError::Unknown(status.message().to_owned()),
            }),
            Err(_) => Err(ProposeError::Unknown(format!("no answer after {} s", PROPOSE_TIMEOUT.as_secs()))),
        }
    }
}

impl Replica for RemoteReplica {
    fn snapshot(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        let encoded = command.encode().map_err(|e| Rejected::Invalid(e.to_string()));
        Box::pin(async move { self.shared.forward(encoded?).await })
    }

    fn waiters(&self) -> &Waiters {
        &self.shared.waiters
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.subscribe()
    }

    fn last_contact(&self) -> Option<Duration> {
        Some(self.shared.contact.lock().unwrap_or_else(PoisonError::into_inner).elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["127.0.0.1:4647", "[::1]:4647", "server.example:1"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost", ":4647", "a:b", "a:0", "a:70000", "http://a:1/x:2", "u@h:1"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
