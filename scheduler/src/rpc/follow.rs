//! The server's side of one `Follow` stream: a snapshot where needed, then entries, and a pulse when nothing happens.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use model::{Index, LbId, Replica};
use tokio::{
    sync::{Semaphore, mpsc},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::{
    balancers::Balancers,
    proto::{Chunk, Entries, Entry, FollowRequest, Frame, Hello, Pulse, frame::Kind},
};
use crate::raft::{Fed, RaftReplica};

/// Silence longer than a few of these means that the server is gone.
pub const PULSE: Duration = Duration::from_secs(1);
/// Entries and bytes in one frame. A single larger entry travels alone.
const FRAME_ENTRIES: usize = 256;
const FRAME_BYTES: usize = 1 << 20;
const CHUNK: usize = 256 << 10;
/// Longest agent name taken from the network.
const MAX_NAME: usize = 256;

pub type Frames = mpsc::Sender<Result<Frame, Status>>;

/// A request, checked.
#[derive(Debug)]
pub struct Follower {
    cluster: Option<Uuid>,
    index: Index,
    agent: String,
    pub balancer: Option<LbId>,
}

fn id(bytes: &[u8], what: &str) -> Result<Option<Uuid>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let parsed = Uuid::from_slice(bytes);
    parsed.map(Some).map_err(|_| Status::invalid_argument(format!("{what} must be empty or 16 bytes")))
}

impl Follower {
    pub fn parse(request: FollowRequest) -> Result<Self, Status> {
        if request.agent.is_empty() || request.agent.len() > MAX_NAME {
            return Err(Status::invalid_argument(format!("agent must be a name of 1 to {MAX_NAME} bytes")));
        }
        Ok(Self {
            cluster: id(&request.cluster, "cluster")?,
            index: Index(request.index),
            agent: request.agent,
            balancer: id(&request.balancer, "balancer")?.map(LbId),
        })
    }
}

/// What every stream shares.
#[derive(Debug)]
pub struct Server {
    pub raft: Arc<RaftReplica>,
    pub balancers: Balancers,
    /// Snapshots being encoded at once: each holds the whole state as bytes.
    pub encoding: Semaphore,
    pub cancel: CancellationToken,
}

/// Serve one follower until it hangs up; keeps its load balancer registered meanwhile.
pub async fn run(server: Arc<Server>, follower: Follower, frames: Frames) {
    tracing::info!(agent = %follower.agent, from = %follower.index, "an agent follows the log");
    if let Some(id) = follower.balancer
        && let Err(error) = server.balancers.came(id, follower.agent.clone()).await
    {
        let text = format!("the load balancer could not be registered: {error}");
        // Whether or not the follower still listens, the stream ends here.
        let _hung_up = frames.send(Err(Status::unavailable(text))).await;
        server.balancers.went(id).await;
        return;
    }
    let sent = tokio::select! {
        () = server.cancel.cancelled() => Err(Status::unavailable("this server is shutting down")),
        () = frames.closed() => Ok(()),
        sent = feed(&server, &follower, &frames) => sent,
    };
    if let Err(status) = sent {
        let _hung_up = frames.try_send(Err(status));
    }
    if let Some(id) = follower.balancer {
        server.balancers.went(id).await;
    }
    tracing::info!(agent = %follower.agent, "an agent follows the log no more");
}

async fn send(frames: &Frames, kind: Kind) -> Result<(), Status> {
    frames.send(Ok(Frame { kind: Some(kind) })).await.map_err(|_| Status::cancelled("the follower hung up"))
}

async fn feed(server: &Server, follower: &Follower, frames: &Frames) -> Result<(), Status> {
    let raft = &server.raft;
    let cluster = raft.identity().cluster;
    send(frames, Kind::Hello(Hello { cluster: Bytes::copy_from_slice(cluster.as_bytes()) })).await?;
    // Subscribed before looking, so that what is published in between is seen.
    let mut applied = raft.waiters().applied();
    let mut leadership = raft.leadership();
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let known = follower.cluster == Some(cluster) && follower.index <= raft.snapshot().index;
    let mut at = known.then_some(follower.index);
    loop {
        applied.borrow_and_update();
        let entries = at.and_then(|at| raft.entries_after(at, FRAME_ENTRIES, FRAME_BYTES));
        match (at, entries) {
            (Some(_), Some(entries)) if entries.is_empty() => {
                tokio::select! {
                    changed = applied.changed() => {
                        changed.map_err(|_| Status::unavailable("this server is shutting down"))?;
                    }
                    _ = leadership.changed() => send(frames, pulse_of(raft)).await?,
                    _ = pulse.tick() => send(frames, pulse_of(raft)).await?,
                }
            }
            (_, Some(entries)) => {
                at = entries.last().map(|f| Index(f.index)).or(at);
                let entries = entries.into_iter().map(|Fed { index, command }| Entry { index, command });
                send(frames, Kind::Entries(Entries { entries: entries.collect() })).await?;
            }
            (_, None) => at = Some(send_snapshot(server, frames).await?),
        }
    }
}

fn pulse_of(raft: &RaftReplica) -> Kind {
    let leadership = raft.leadership();
    let now = leadership.borrow();
    Kind::Pulse(Pulse {
        index: raft.snapshot().index.0,
        term: now.term,
        leader: now.leader.clone().unwrap_or_default(),
    })
}

async fn send_snapshot(server: &Server, frames: &Frames) -> Result<Index, Status> {
    let _permit = server.encoding.acquire().await.map_err(|_| Status::unavailable("this server is shutting down"))?;
    let state = server.raft.snapshot();
    let index = state.index;
    let encoded = tokio::task::spawn_blocking(move || state.encode()).await;
    let mut rest = match encoded {
        Ok(Ok(bytes)) => Bytes::from(bytes),
        Ok(Err(error)) => return Err(Status::internal(format!("the state cannot be encoded: {error}"))),
        Err(error) => return Err(Status::internal(format!("encoding the state failed: {error}"))),
    };
    tracing::debug!(%index, bytes = rest.len(), "sending a snapshot");
    while !rest.is_empty() {
        let data = rest.split_to(rest.len().min(CHUNK));
        let last = rest.is_empty();
        send(frames, Kind::Chunk(Chunk { data, last })).await?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_checked_before_anything_is_done() {
        let good = FollowRequest { agent: "a".into(), balancer: vec![1; 16].into(), ..FollowRequest::default() };
        assert!(Follower::parse(good.clone()).unwrap().balancer.is_some());
        let bad = [
            FollowRequest { agent: String::new(), ..good.clone() },
            FollowRequest { agent: "x".repeat(MAX_NAME + 1), ..good.clone() },
            FollowRequest { balancer: vec![1; 15].into(), ..good.clone() },
            FollowRequest { cluster: vec![1; 17].into(), ..good },
        ];
        for request in bad {
            assert_eq!(Follower::parse(request).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }
}
