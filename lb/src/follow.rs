//! Follows the replicated state: registers this load balancer, publishes tables, acknowledges leaving instances.
//!
//! One task. It sleeps until a commit touches services, load balancers or the no-route page, until a request ends on a
//! leaving instance, or until an acknowledgement was answered; wakes that come close together become one table.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use imbl::{OrdMap, ordmap::DiffItem};
use model::{Alloc, AllocId, Command, LbId, ProposeError, Replica, State, Topic};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    book::{Book, NO_ROUTE_KEY},
    table::Table,
};

/// How long a refused or lost proposal waits before the next try.
const RETRY: Duration = Duration::from_millis(250);
/// How long a proposal may take before it counts as lost. All of ours may be repeated.
const PROPOSAL: Duration = Duration::from_secs(10);
/// A wake at least this often, should one ever be missed.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The task and what it shares with the rest.
pub struct Follower {
    pub replica: Arc<dyn Replica>,
    pub id: LbId,
    pub node: String,
    pub book: Book,
    pub table: Arc<ArcSwap<Table>>,
    /// Rung when a request ends on a target that may be picked no more.
    pub idle: Arc<Notify>,
    /// Becomes true once registered and the first table is published.
    pub ready: watch::Sender<bool>,
    /// Counts tables; cores drop connections to targets that left.
    pub published: watch::Sender<u64>,
}

type Proposal = BoxFuture<'static, Result<(), ProposeError>>;

/// What is on its way to the leader, or waits to be.
#[derive(Default)]
struct Mail {
    register: Option<Proposal>,
    acknowledge: Option<(Vec<AllocId>, Proposal)>,
    /// Earliest next proposal after a failed one.
    not_before: Option<tokio::time::Instant>,
}

impl Follower {
    /// Until `cancel`. Does not deregister: the caller does, when requests have ended.
    pub async fn run(mut self, cancel: CancellationToken) {
        let replica = Arc::clone(&self.replica);
        let topics = [Topic::Services, Topic::LoadBalancers, Topic::Key(NO_ROUTE_KEY.to_owned())];
        let idle = Arc::clone(&self.idle);
        let mut seen: OrdMap<AllocId, Arc<Alloc>> = OrdMap::new();
        let mut leaving: BTreeSet<AllocId> = BTreeSet::new();
        let mut mail = Mail::default();
        loop {
            // Subscribe before looking, so that a commit between the two is not missed.
            let mut woken = replica.waiters().subscribe(&topics);
            let state = replica.snapshot();
            self.look(&state, &mut seen, &mut leaving);
            self.post(&state, &leaving, &mut mail);
            let pause = mail.not_before.map(tokio::time::sleep_until);
            tokio::select! {
                () = woken.wait() => {}
                () = idle.notified() => {}
                done = OptionFuture::from(mail.register.as_mut()), if mail.register.is_some() => {
                    mail.register = None;
                    if let Some(Err(error)) = done {
                        debug!(%error, "the load balancer is not registered yet; trying again");
                        mail.not_before = Some(tokio::time::Instant::now() + RETRY);
                    }
                }
                done = OptionFuture::from(mail.acknowledge.as_mut().map(|(_, p)| p)), if mail.acknowledge.is_some() => {
                    self.acknowledged(&mut mail, &mut leaving, &state, done);
                }
                Some(()) = OptionFuture::from(pause) => mail.not_before = None,
                () = tokio::time::sleep(HEARTBEAT) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Publish a new table if one is due, and note the allocations that wait for us.
    fn look(&mut self, state: &State, seen: &mut OrdMap<AllocId, Arc<Alloc>>, leaving: &mut BTreeSet<AllocId>) {
        if self.book.follow(state, &self.table) {
            self.published.send_modify(|n| *n += 1);
            let table = self.table.load();
            debug!(index = table.index.0, routes = table.routes.len(), problems = table.problems.len(), "new routes");
        }
        for item in seen.diff(&state.allocs) {
            match item {
                DiffItem::Add(id, alloc) | DiffItem::Update { new: (id, alloc), .. } => {
                    if alloc.leaving.as_ref().is_some_and(|l| l.awaiting.contains(&self.id)) {
                        leaving.insert(*id);
                    } else {
                        leaving.remove(id);
                    }
                }
                DiffItem::Remove(id, _) => {
                    leaving.remove(id);
                }
            }
        }
        *seen = state.allocs.clone();
        if !*self.ready.borrow() && state.balancers.contains_key(&self.id) {
            info!(id = %self.id, "load balancer registered");
            self.ready.send_replace(true);
        }
    }

    /// Send what is due and not on its way. Past its deadline an instance is acknowledged all the same once it is idle:
    /// its client waits no more, but the state is tidy.
    fn post(&self, state: &State, leaving: &BTreeSet<AllocId>, mail: &mut Mail) {
        if mail.not_before.is_some() {
            return;
        }
        if mail.register.is_none() && !state.balancers.contains_key(&self.id) {
            mail.register = Some(self.propose(Command::LbRegister { id: self.id, node: self.node.clone() }));
        }
        if mail.acknowledge.is_none() && !leaving.is_empty() {
            let busy = self.book.busy();
            let done: Vec<AllocId> = leaving.iter().copied().filter(|id| !busy.contains(id)).collect();
            if !done.is_empty() {
                let proposal = self.propose(Command::LbDrained { id: self.id, allocs: done.clone() });
                mail.acknowledge = Some((done, proposal));
            }
        }
    }

    fn acknowledged(
        &self,
        mail: &mut Mail,
        leaving: &mut BTreeSet<AllocId>,
        state: &State,
        done: Option<Result<(), ProposeError>>,
    ) {
        let Some((allocs, _)) = mail.acknowledge.take() else { return };
        match done {
            None | Some(Ok(())) => {
                for id in allocs {
                    leaving.remove(&id);
                }
            }
            Some(Err(error)) => {
                warn!(%error, allocs = allocs.len(), index = state.index.0, "could not acknowledge leaving instances; trying again");
                mail.not_before = Some(tokio::time::Instant::now() + RETRY);
            }
        }
    }

    fn propose(&self, command: Command) -> Proposal {
        let replica = Arc::clone(&self.replica);
        async move {
            match tokio::time::timeout(PROPOSAL, replica.propose(command)).await {
                Ok(answer) => answer.map(|_| ()),
                Err(_) => Err(ProposeError::Unknown(format!("no answer within {} s", PROPOSAL.as_secs()))),
            }
        }
        .boxed()
    }
}
