//! The gRPC server: limits, keep-alives, and the two calls.

use std::{sync::Arc, time::Duration};

use model::Command;
use tokio::{net::TcpListener, sync::Semaphore, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{
    MAX_MESSAGE,
    balancers::Balancers,
    connection,
    follow::{self, Follower, Server},
    outcome,
    proto::{
        FollowRequest, Frame, ProposeRequest, ProposeResponse,
        replica_server::{Replica, ReplicaServer},
    },
};
use crate::{Error, raft::RaftReplica};

/// Calls of one connection at once. Proposals beyond wait for their turn.
const STREAMS: u32 = 256;
/// A peer that does not answer a ping for this long is gone.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Frames waiting for a slow follower. Small, because the ring is the buffer.
const FRAMES: usize = 4;
/// Snapshots encoded at once.
const ENCODING: usize = 2;
const MAX_HEADERS: u32 = 16 << 10;
/// How long calls in flight may take once the server is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serve other agents until cancelled.
///
/// # Errors
/// The listener is not on loopback (there is no TLS yet), or serving fails as a whole.
pub async fn serve(listener: TcpListener, raft: Arc<RaftReplica>, cancel: CancellationToken) -> Result<(), Error> {
    let addr = listener.local_addr().map_err(|e| Error::Rpc { addr: "?".to_owned(), detail: e.to_string() })?;
    if !addr.ip().is_loopback() {
        return Err(Error::NotLoopback(addr));
    }
    // Ended together with this function, however it ends.
    let cancel = cancel.child_token();
    let _guard = cancel.clone().drop_guard();
    let (balancers, presence) = Balancers::start(Arc::clone(&raft), cancel.clone());
    let followers = TaskTracker::new();
    let server = Server { raft, balancers, encoding: Semaphore::new(ENCODING), cancel: cancel.clone() };
    let service = ReplicaServer::new(Service { server: Arc::new(server), followers: followers.clone() })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    tracing::info!(%addr, "server RPC is open");
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(MAX_HEADERS)
        .add_service(service)
        .serve_with_incoming_shutdown(connection::accept(listener), cancel.clone().cancelled_owned());
    let drained = async {
        cancel.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let result = tokio::select! {
        result = serving => result,
        () = drained => Ok(()),
    };
    cancel.cancel();
    followers.close();
    if tokio::time::timeout(DRAIN, followers.wait()).await.is_err() {
        tracing::warn!("followers of the log did not end in time");
    }
    if let Err(error) = presence.await {
        tracing::error!(%error, "the watch over load balancers ended badly");
    }
    result.map_err(|e| Error::Rpc { addr: addr.to_string(), detail: e.to_string() })
}

struct Service {
    server: Arc<Server>,
    followers: TaskTracker,
}

#[tonic::async_trait]
impl Replica for Service {
    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        let bytes = request.into_inner().command;
        // Nothing that does not decode may enter the log: it would stop every replica.
        Command::decode(&bytes).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let outcome = self.server.raft.propose_bytes(bytes).await;
        let outcome = outcome::encode(outcome).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(ProposeResponse { outcome: outcome.into() }))
    }

    type FollowStream = ReceiverStream<Result<Frame, Status>>;

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let follower = Follower::parse(request.into_inner())?;
        let (frames, stream) = mpsc::channel(FRAMES);
        self.followers.spawn(follow::run(Arc::clone(&self.server), follower, frames));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
