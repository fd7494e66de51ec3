//! One instance as the load balancer knows it: where it is, whether it may be picked, what it has done.
//!
//! A target outlives route tables: it is made when the instance first shows a route and forgotten once it is out of
//! the catalog and idle. Counters are kept per core, so that cores share no cache line; readers add them up.
//!
//! Leaving, without a lock on the request path:
//! ```text
//!  request:  in_flight += 1 ; pickable?  yes ─► use it          follower: pickable := false ; in_flight == 0 ? ─► done
//!                             no  ─► in_flight -= 1, pick again
//! ```
//! Both sides are sequentially consistent, so either the request sees the flag or the follower sees the request.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use model::{AllocId, InstanceId, NodeName, ServiceName};
use tokio::sync::Notify;

use crate::stats::{BUCKETS, Histogram, quantile};

/// What makes a target the same target in the next table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub service: ServiceName,
    pub node: NodeName,
    pub instance: InstanceId,
    /// `host:port`.
    pub authority: Arc<str>,
}

/// Where to connect: parsed once, so that no request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Ip(SocketAddr),
    /// A name, looked up at every new connection.
    Name(Arc<str>, u16),
}

impl Endpoint {
    #[must_use]
    pub fn new(address: &str, port: u16) -> Self {
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        match bare.parse::<IpAddr>() {
            Ok(ip) => Self::Ip(SocketAddr::new(ip, port)),
            Err(_) => Self::Name(address.into(), port),
        }
    }

    /// `host:port`, brackets around IPv6.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Ip(addr) => addr.to_string(),
            Self::Name(name, port) => format!("{name}:{port}"),
        }
    }
}

#[derive(Debug)]
pub struct Target {
    /// Unique in this process; the pools' key.
    pub id: u64,
    pub key: Key,
    pub alloc: Option<AllocId>,
    pub endpoint: Endpoint,
    pickable: AtomicBool,
    /// Milliseconds of [`clock`]; until then others are preferred. 0 = never suspected, and then no clock is read.
    suspect_until: AtomicU64,
    lanes: Box<[Lane]>,
    rate: Mutex<Rate>,
    /// Rung when a request ends on a target that may be picked no more.
    idle: Arc<Notify>,
}

/// One core's counters.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    in_flight: AtomicUsize,
    requests: AtomicU64,
    errors: AtomicU64,
    latency: Histogram,
}

/// Requests per second, smoothed over a minute. Only the sampler and readers of the admin API come here.
#[derive(Debug, Default)]
struct Rate {
    seen: u64,
    per_second: f64,
}

/// What a target has done so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    pub in_flight: usize,
    pub requests: u64,
    /// Connections refused or lost, time-outs, and answers of 500 and above.
    pub errors: u64,
    /// Requests per second, smoothed over a minute.
    pub rate: f64,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
}

/// How long a suspicion lasts, in milliseconds. Health checks decide about anything longer.
const SUSPICION: u64 = 1000;

/// Milliseconds since the first call, plus one.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2) + 1
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Target {
    #[must_use]
    pub fn new(key: Key, alloc: Option<AllocId>, endpoint: Endpoint, lanes: usize, idle: Arc<Notify>) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            key,
            alloc,
            endpoint,
            pickable: AtomicBool::new(false),
            suspect_until: AtomicU64::new(0),
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            rate: Mutex::default(),
            idle,
        }
    }

    pub fn set_pickable(&self, yes: bool) {
        self.pickable.store(yes, Ordering::SeqCst);
    }

    #[must_use]
    pub fn pickable(&self) -> bool {
        self.pickable.load(Ordering::SeqCst)
    }

    /// It refused or dropped a new connection: for a second, others are preferred.
    pub fn suspect(&self) {
        self.suspect_until.store(clock() + SUSPICION, Ordering::Relaxed);
    }

    /// It answered.
    pub fn clear(&self) {
        if self.suspect_until.load(Ordering::Relaxed) != 0 {
            self.suspect_until.store(0, Ordering::Relaxed);
        }
    }

    #[must_use]
    pub fn suspected(&self) -> bool {
        let until = self.suspect_until.load(Ordering::Relaxed);
        until != 0 && clock() < until
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lanes.iter().map(|l| l.in_flight.load(Ordering::SeqCst)).sum()
    }

    /// Begin a request on this core; `None` when the target is leaving, and then nothing was counted.
    #[must_use]
    pub fn enter(self: &Arc<Self>, lane: usize) -> Option<InFlight> {
        let lane = lane % self.lanes.len();
        self.lanes[lane].in_flight.fetch_add(1, Ordering::SeqCst);
        let guard = InFlight { target: Arc::clone(self), lane, here: std::marker::PhantomData };
        if !self.pickable() {
            return None;
        }
        self.lanes[lane].requests.fetch_add(1, Ordering::Relaxed);
        Some(guard)
    }

    /// Take a sample of the rate; `since` is the time since the last one.
    pub fn sample(&self, since: Duration) {
        let requests: u64 = self.lanes.iter().map(|l| l.requests.load(Ordering::Relaxed)).sum();
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        #[allow(clippy::cast_precision_loss)] // A difference of counters within seconds.
        let now = (requests - rate.seen) as f64 / since.as_secs_f64().max(f64::EPSILON);
        let weight = 1.0 - (-since.as_secs_f64() / 60.0).exp();
        rate.per_second += weight * (now - rate.per_second);
        rate.seen = requests;
    }

    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut counts = [0; BUCKETS];
        let (mut requests, mut errors) = (0, 0);
        for lane in &self.lanes {
            requests += lane.requests.load(Ordering::Relaxed);
            errors += lane.errors.load(Ordering::Relaxed);
            lane.latency.add_to(&mut counts);
        }
        Totals {
            in_flight: self.in_flight(),
            requests,
            errors,
            rate: self.rate.lock().unwrap_or_else(PoisonError::into_inner).per_second,
            p50: quantile(&counts, 0.5),
            p99: quantile(&counts, 0.99),
        }
    }
}

/// A request that a target has not finished. Dropping it ends the request.
#[derive(Debug)]
pub struct InFlight {
    target: Arc<Target>,
    lane: usize,
    /// It stays on its core: the count went up there and must go down there.
    here: std::marker::PhantomData<Rc<()>>,
}

impl InFlight {
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The answer began after this time.
    pub fn answered(&self, took: Duration, failed: bool) {
        self.target.lanes[self.lane].latency.record(took);
        if failed {
            self.failed();
        }
    }

    pub fn failed(&self) {
        self.target.lanes[self.lane].errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.target.lanes[self.lane].in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.target.pickable() {
            self.target.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Arc<Target> {
        let endpoint = Endpoint::new("127.0.0.1", 80);
        let authority = endpoint.authority().into();
        let key = Key { service: "web".into(), node: "n".into(), instance: "i".into(), authority };
        Arc::new(Target::new(key, None, endpoint, 4, Arc::new(Notify::new())))
    }

    #[test]
    fn addresses_of_every_kind_become_endpoints() {
        assert_eq!(Endpoint::new("10.0.0.1", 80).authority(), "10.0.0.1:80");
        assert_eq!(Endpoint::new("::1", 80).authority(), "[::1]:80");
        assert_eq!(Endpoint::new("[::1]", 80).authority(), "[::1]:80");
        assert_eq!(Endpoint::new("db.internal", 80).authority(), "db.internal:80");
    }

    #[test]
    fn a_leaving_target_takes_nothing_and_counts_nothing() {
        let t = target();
        assert!(t.enter(0).is_none());
        t.set_pickable(true);
        let held = t.enter(1).expect("pickable");
        t.set_pickable(false);
        assert!(t.enter(2).is_none());
        assert_eq!((t.in_flight(), t.totals().requests), (1, 1));
        drop(held);
        assert_eq!(t.in_flight(), 0);
    }

    #[test]
    fn the_rate_follows_the_requests() {
        let t = target();
        t.set_pickable(true);
        for _ in 0..120 {
            for _ in 0..50 {
                drop(t.enter(0));
            }
            t.sample(Duration::from_secs(5));
        }
        assert!((t.totals().rate - 10.0).abs() < 0.01, "{}", t.totals().rate);
        t.sample(Duration::from_secs(60));
        assert!((3.0..4.0).contains(&t.totals().rate), "{}", t.totals().rate);
    }

    /// Whoever wins the race, nothing enters after the flag was seen down with nothing in flight.
    #[test]
    fn no_request_slips_in_behind_the_flag() {
        for _ in 0..200 {
            let t = target();
            t.set_pickable(true);
            let gone = Arc::new(AtomicBool::new(false));
            let workers: Vec<_> = (0..4)
                .map(|lane| {
                    let (t, gone) = (Arc::clone(&t), Arc::clone(&gone));
                    std::thread::spawn(move || {
                        while let Some(held) = t.enter(lane) {
                            assert!(!gone.load(Ordering::SeqCst), "picked after the drain was over");
                            drop(held);
                        }
                    })
                })
                .collect();
            t.set_pickable(false);
            while t.in_flight() > 0 {
                std::thread::yield_now();
            }
            gone.store(true, Ordering::SeqCst);
            for w in workers {
                w.join().expect("no request slipped in");
            }
        }
    }
}
