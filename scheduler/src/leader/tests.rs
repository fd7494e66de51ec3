//! The loops together, on a replica without replication.

use std::{sync::Arc, time::Duration};

use model::{Command, EvalStatus, JobKey, Replica, State, Topic, replica::local::LocalReplica};
use tokio_util::sync::CancellationToken;

use super::{LeaderConfig, run};
use crate::world::{self, World};

/// Until the state satisfies `what`, or fail with its last picture.
async fn eventually(replica: &LocalReplica, topics: &[Topic], what: impl Fn(&State) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut woken = replica.waiters().subscribe(topics);
        if what(&replica.snapshot()) {
            return;
        }
        let waited = tokio::time::timeout_at(deadline, woken.wait()).await;
        assert!(waited.is_ok(), "did not come about: {:#?}", replica.snapshot().evals);
    }
}

fn register(w: &mut World, job: model::Job) -> Command {
    let eval = w.eval_for(&job, model::Trigger::JobRegister);
    Command::JobRegister { job: Box::new(job), eval: Some(eval), enforce_index: None, at: super::now() }
}

#[tokio::test]
async fn a_registered_job_is_placed_and_a_blocked_one_follows_when_a_node_comes() {
    let mut w = World::new(0);
    let replica = Arc::new(LocalReplica::new(State::default()));
    let cancel = CancellationToken::new();
    let leader = tokio::spawn(run(Arc::clone(&replica) as Arc<dyn Replica>, LeaderConfig::default(), cancel.clone()));

    replica.apply(register(&mut w, world::web(3))).expect("applies");
    let blocked = |s: &State| s.evals.values().any(|e| e.status == EvalStatus::Blocked);
    eventually(&replica, &[Topic::Evals], blocked).await;

    replica.apply(Command::NodeRegister { node: Box::new(world::node(1)), at: super::now() }).expect("applies");
    let placed = |s: &State| s.allocs_of_job(&JobKey::new("default", "web")).count() == 3;
    eventually(&replica, &[Topic::Allocs], placed).await;
    let idle = |s: &State| s.evals.values().all(|e| e.status == EvalStatus::Complete);
    eventually(&replica, &[Topic::Evals], idle).await;

    cancel.cancel();
    leader.await.expect("ends");
}
