//! Which evaluation is worked on next: by priority, then by age, one per job at a time.
//!
//! While one evaluation of a job is in a worker's hands, later ones wait behind it; when it is done the newest of them
//! goes on and the others are cancelled, because it sees everything they would have seen. A worker that reports failure
//! (or nothing, until its time is up) gives the evaluation back; after three deliveries it is given up.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use model::{Eval, EvalId, Index, JobKey, Timestamp};

/// A worker that has not answered for this long has lost the evaluation.
pub const NACK_TIMEOUT: Duration = Duration::from_secs(60);
/// Deliveries before an evaluation is given up.
pub const DELIVERY_LIMIT: u32 = 3;
/// Pauses before the second and each further delivery.
const REDELIVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(20)];

/// Proof of one delivery; a late answer of an earlier delivery is recognised by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

#[derive(Clone, Debug)]
pub struct Delivery {
    pub eval: Arc<Eval>,
    pub token: Token,
}

/// What becomes of an evaluation that was given back.
#[derive(Clone, Debug, PartialEq)]
pub enum Returned {
    /// Deliver it again at this time.
    Retry(Timestamp, Arc<Eval>),
    /// It failed too often.
    GivenUp(Arc<Eval>),
    /// The answer belongs to an earlier delivery.
    Stale,
}

#[derive(Debug)]
struct Flight {
    eval: Arc<Eval>,
    token: Token,
    until: Timestamp,
}

#[derive(Debug, Default)]
pub struct Broker {
    ready: BTreeSet<(Reverse<u8>, Index, EvalId)>,
    /// Evaluations known here, in whatever place.
    known: HashMap<EvalId, Arc<Eval>>,
    /// The job's evaluation that is ready or in flight.
    head: HashMap<JobKey, EvalId>,
    behind: HashMap<JobKey, BTreeSet<(Index, EvalId)>>,
    flights: HashMap<EvalId, Flight>,
    deliveries: HashMap<EvalId, u32>,
    tokens: u64,
}

impl Broker {
    /// Add an evaluation; one that is already here stays as it is.
    pub fn enqueue(&mut self, eval: Arc<Eval>) {
        if self.known.contains_key(&eval.id) {
            return;
        }
        self.known.insert(eval.id, Arc::clone(&eval));
        if self.head.contains_key(&eval.job) {
            self.behind.entry(eval.job.clone()).or_default().insert((eval.create_index, eval.id));
        } else {
            self.head.insert(eval.job.clone(), eval.id);
            self.ready.insert((Reverse(eval.priority), eval.create_index, eval.id));
        }
    }

    /// Hand out the next evaluation.
    pub fn dequeue(&mut self, now: Timestamp) -> Option<Delivery> {
        let (_, _, id) = self.ready.pop_first()?;
        let eval = Arc::clone(self.known.get(&id)?);
        self.tokens += 1;
        let token = Token(self.tokens);
        *self.deliveries.entry(id).or_default() += 1;
        self.flights.insert(id, Flight { eval: Arc::clone(&eval), token, until: now + NACK_TIMEOUT });
        Some(Delivery { eval, token })
    }

    /// The evaluation is done. Returns those that its successor makes superfluous.
    pub fn ack(&mut self, id: EvalId, token: Token) -> Vec<Arc<Eval>> {
        if self.flights.get(&id).is_none_or(|f| f.token != token) {
            return Vec::new();
        }
        let Some(flight) = self.flights.remove(&id) else { return Vec::new() };
        self.known.remove(&id);
        self.deliveries.remove(&id);
        self.next_of(&flight.eval.job)
    }

    /// Let the newest waiting evaluation of a job come forward; the older ones are returned.
    fn next_of(&mut self, job: &JobKey) -> Vec<Arc<Eval>> {
        self.head.remove(job);
        let Some(mut waiting) = self.behind.remove(job) else { return Vec::new() };
        let newest = waiting.pop_last();
        let older: Vec<_> = waiting.into_iter().filter_map(|(_, id)| self.known.remove(&id)).collect();
        if let Some(eval) = newest.and_then(|(_, id)| self.known.remove(&id)) {
            self.enqueue(eval);
        }
        older
    }

    /// The worker could not finish it.
    pub fn nack(&mut self, id: EvalId, token: Token, now: Timestamp) -> Returned {
        if self.flights.get(&id).is_none_or(|f| f.token != token) {
            return Returned::Stale;
        }
        let Some(flight) = self.flights.remove(&id) else { return Returned::Stale };
        let count = self.deliveries.get(&id).copied().unwrap_or(0);
        self.known.remove(&id);
        if count >= DELIVERY_LIMIT {
            self.deliveries.remove(&id);
            // Whoever waited behind it has its turn; none of them is superfluous, since nothing was done.
            let older = self.next_of(&flight.eval.job);
            older.into_iter().for_each(|e| self.enqueue(e));
            return Returned::GivenUp(flight.eval);
        }
        let older = self.next_of(&flight.eval.job);
        older.into_iter().for_each(|e| self.enqueue(e));
        let pause = REDELIVERY[usize::from(count > 1)];
        Returned::Retry(now + pause, flight.eval)
    }

    /// Deliveries whose worker has not answered in time.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> Vec<(EvalId, Token)> {
        let mut late: Vec<_> = self.flights.values().filter(|f| f.until <= now).map(|f| (f.eval.id, f.token)).collect();
        late.sort_by_key(|(id, _)| *id);
        late
    }

    /// When the first delivery expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.flights.values().map(|f| f.until).min()
    }

    /// The evaluation ended elsewhere. One in flight stays until its worker answers.
    pub fn forget(&mut self, id: EvalId) {
        if self.flights.contains_key(&id) {
            return;
        }
        let Some(eval) = self.known.remove(&id) else { return };
        self.deliveries.remove(&id);
        if let Some(waiting) = self.behind.get_mut(&eval.job) {
            waiting.remove(&(eval.create_index, id));
        }
        if self.ready.remove(&(Reverse(eval.priority), eval.create_index, id)) {
            let older = self.next_of(&eval.job);
            older.into_iter().for_each(|e| self.enqueue(e));
        }
    }

    /// Ready, waiting behind another, in flight.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.ready.len(), self.behind.values().map(BTreeSet::len).sum(), self.flights.len())
    }
}

#[cfg(test)]
mod tests {
    use model::{JobKind, Trigger};
    use uuid::Uuid;

    use super::*;

    fn eval(n: u128, job: &str, priority: u8) -> Arc<Eval> {
        let key = JobKey::new("default", job);
        let id = EvalId(Uuid::from_u128(n));
        let mut e = Eval::pending(id, key, JobKind::Service, priority, Trigger::JobRegister, Timestamp(1));
        e.create_index = Index(n as u64);
        Arc::new(e)
    }

    fn id(n: u128) -> EvalId {
        EvalId(Uuid::from_u128(n))
    }

    const NOW: Timestamp = Timestamp(1_000);

    #[test]
    fn priority_then_age() {
        let mut b = Broker::default();
        for e in [eval(1, "a", 50), eval(2, "b", 90), eval(3, "c", 50)] {
            b.enqueue(e);
        }
        let order: Vec<_> = std::iter::from_fn(|| b.dequeue(NOW)).map(|d| d.eval.id).collect();
        assert_eq!(order, [id(2), id(1), id(3)]);
    }

    #[test]
    fn one_per_job_and_the_newest_survives() {
        let mut b = Broker::default();
        b.enqueue(eval(1, "a", 50));
        let first = b.dequeue(NOW).expect("ready");
        for n in 2..=4 {
            b.enqueue(eval(n, "a", 50));
        }
        assert!(b.dequeue(NOW).is_none());
        let cancelled: Vec<_> = b.ack(first.eval.id, first.token).iter().map(|e| e.id).collect();
        assert_eq!(cancelled, [id(2), id(3)]);
        assert_eq!(b.dequeue(NOW).map(|d| d.eval.id), Some(id(4)));
    }

    #[test]
    fn failed_deliveries_come_back_and_are_given_up() {
        let mut b = Broker::default();
        b.enqueue(eval(1, "a", 50));
        let mut at = NOW;
        for round in 1..=DELIVERY_LIMIT {
            let d = b.dequeue(at).expect("ready");
            match b.nack(d.eval.id, d.token, at) {
                Returned::Retry(when, e) if round < DELIVERY_LIMIT => {
                    assert!(when > at);
                    at = when;
                    b.enqueue(e);
                }
                Returned::GivenUp(e) if round == DELIVERY_LIMIT => assert_eq!(e.id, id(1)),
                other => panic!("round {round}: {other:?}"),
            }
        }
        assert_eq!(b.counts(), (0, 0, 0));
    }

    #[test]
    fn late_answers_count_for_nothing() {
        let mut b = Broker::default();
        b.enqueue(eval(1, "a", 50));
        let d = b.dequeue(NOW).expect("ready");
        let late = NOW + NACK_TIMEOUT;
        assert_eq!(b.expired(late), [(id(1), d.token)]);
        let Returned::Retry(_, e) = b.nack(id(1), d.token, late) else { panic!("comes back") };
        b.enqueue(e);
        let again = b.dequeue(late).expect("ready");
        assert!(b.ack(id(1), d.token).is_empty());
        assert_eq!(b.counts(), (0, 0, 1));
        b.ack(id(1), again.token);
        assert_eq!(b.counts(), (0, 0, 0));
    }

    #[test]
    fn forgetting_lets_the_next_one_through() {
        let mut b = Broker::default();
        b.enqueue(eval(1, "a", 50));
        b.enqueue(eval(2, "a", 50));
        b.forget(id(1));
        assert_eq!(b.dequeue(NOW).map(|d| d.eval.id), Some(id(2)));
    }
}
