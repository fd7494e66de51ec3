//! A server and its followers over real sockets: same state, resumption, forwarding, and the presence of balancers.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use model::{
    Command, Index, LbId, Topic,
    command::Rejected,
    replica::{ProposeError, Replica, block_until},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::{
    Error,
    raft::{
        RaftReplica,
        tests::{config, eventually, put},
    },
};

struct Served {
    addr: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Served {
    async fn start(raft: &Arc<RaftReplica>, addr: &str) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let task = tokio::spawn(serve(listener, Arc::clone(raft), cancel.clone()));
        Self { addr, cancel, task }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

async fn open(dir: &Path) -> Arc<RaftReplica> {
    RaftReplica::open(config(dir)).await.unwrap()
}

fn follow(addr: SocketAddr, balancer: Option<LbId>) -> (Arc<RemoteReplica>, CancellationToken) {
    let cancel = CancellationToken::new();
    let config = RemoteConfig { servers: vec![addr.to_string()], agent: "edge".to_owned(), balancer };
    (RemoteReplica::connect(config, cancel.clone()).unwrap(), cancel)
}

async fn same(a: &dyn Replica, b: &dyn Replica) {
    eventually(|| Some(()).filter(|()| a.snapshot() == b.snapshot())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_has_the_same_state_and_can_propose() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    // More than a few chunks, so that the snapshot comes in pieces.
    for n in 0..20 {
        raft.propose(put(&format!("big{n}"), &"x".repeat(64 << 10))).await.unwrap();
    }
    let served = Served::start(&raft, "127.0.0.1:0").await;
    let (remote, cancel) = follow(served.addr, None);
    remote.synced().await;
    same(&*raft, &*remote).await;

    let applied = remote.propose(put("from", "edge")).await.unwrap();
    assert!(raft.snapshot().kv.contains_key("from"));
    let topics = [Topic::Key("from".into())];
    let view = |s: &model::State| (s.kv.get("from").map_or(Index(0), |e| e.modify_index), ());
    let (index, ()) = block_until(&*remote, &topics, Index(1), Duration::from_secs(10), view).await;
    assert_eq!(index, applied.index, "the follower's waiters are woken");
    same(&*raft, &*remote).await;
    eventually(|| Some(()).filter(|()| remote.leadership().borrow().leader.is_some())).await;
    assert!(!remote.leadership().borrow().is_leader);

    let too_large = put("big", &"x".repeat(crate::raft::MAX_COMMAND));
    let refused = remote.propose(too_large).await;
    assert!(matches!(refused, Err(ProposeError::Rejected(Rejected::Invalid(_)))), "{refused:?}");
    cancel.cancel();
    served.stop().await;
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_answers_while_cut_off_and_then_resumes() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    raft.propose(put("a", "1")).await.unwrap();
    let served = Served::start(&raft, "127.0.0.1:0").await;
    let addr = served.addr;
    let (remote, cancel) = follow(addr, None);
    remote.synced().await;
    same(&*raft, &*remote).await;
    eventually(|| Some(()).filter(|()| remote.leadership().borrow().leader.is_some())).await;
    served.stop().await;

    eventually(|| Some(()).filter(|()| remote.leadership().borrow().leader.is_none())).await;
    assert!(remote.snapshot().kv.contains_key("a"), "reads go on");
    assert!(matches!(remote.propose(put("b", "1")).await, Err(ProposeError::NoLeader)));
    for n in 0..1_000 {
        raft.propose(put(&format!("k{}", n % 7), &n.to_string())).await.unwrap();
    }
    let served = Served::start(&raft, &addr.to_string()).await;
    same(&*raft, &*remote).await;
    assert!(remote.last_contact().unwrap() < Duration::from_secs(5));

    // Another cluster at the same address: its state replaces this one, whatever the indexes say.
    served.stop().await;
    raft.shutdown().await;
    let other_dir = TempDir::new().unwrap();
    let other = open(other_dir.path()).await;
    other.propose(put("other", "1")).await.unwrap();
    let served = Served::start(&other, &addr.to_string()).await;
    same(&*other, &*remote).await;
    cancel.cancel();
    served.stop().await;
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balancers_are_registered_while_they_follow() {
    let dir = TempDir::new().unwrap();
    let [stale, local, remote_id] = [1u128, 2, 3].map(|n| LbId(Uuid::from_u128(n)));
    let raft = open(dir.path()).await;
    raft.propose(Command::LbRegister { id: stale, node: "test".into() }).await.unwrap();
    raft.shutdown().await;

    let raft = open(dir.path()).await;
    raft.propose(Command::LbRegister { id: local, node: "test".into() }).await.unwrap();
    let served = Served::start(&raft, "127.0.0.1:0").await;
    let (remote, cancel) = follow(served.addr, Some(remote_id));
    remote.synced().await;
    assert_eq!(raft.snapshot().balancers.get(&remote_id).map(|b| b.node.clone()), Some("edge".to_owned()));
    let there = |id| raft.snapshot().balancers.contains_key(&id);
    eventually(|| Some(()).filter(|()| !there(stale))).await;
    assert!(there(local) && there(remote_id), "only the one of the process before is gone");
    cancel.cancel();
    eventually(|| Some(()).filter(|()| !there(remote_id))).await;
    assert!(there(local));
    served.stop().await;
    raft.shutdown().await;
}

#[tokio::test]
async fn rpc_is_not_opened_to_the_network() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = serve(listener, Arc::clone(&raft), CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("without TLS"), "{error}");
    raft.shutdown().await;
}

#[tokio::test]
async fn what_does_not_decode_never_enters_the_log() {
    let dir = TempDir::new().unwrap();
    let raft = open(dir.path()).await;
    let served = Served::start(&raft, "127.0.0.1:0").await;
    let mut client = proto::replica_client::ReplicaClient::connect(format!("http://{}", served.addr)).await.unwrap();
    let before = raft.snapshot().index;
    for garbage in [&b""[..], b"\x01", b"\x01\xff\xff\xff\xff", b"\x09newer"] {
        let request = proto::ProposeRequest { command: bytes::Bytes::copy_from_slice(garbage) };
        assert_eq!(client.propose(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
    assert_eq!(raft.snapshot().index, before);
    served.stop().await;
    raft.shutdown().await;
}
