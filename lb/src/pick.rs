//! Which instance of a route takes the next request.
//!
//! Pure: weights become a ring once per table; picking is an index into it. With a weight `w`, a target gets the
//! fraction `w` of the traffic; targets without a weight share what is left.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};

/// Slots of a ring whose targets have weights: a weight of 0.1 % is still exact.
const SLOTS: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    #[default]
    #[serde(rename = "rr")]
    RoundRobin,
    #[serde(rename = "rnd")]
    Random,
}

impl Strategy {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::Random => "rnd",
        }
    }
}

impl std::str::FromStr for Strategy {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "rr" => Ok(Self::RoundRobin),
            "rnd" => Ok(Self::Random),
            other => Err(format!("strategy is \"rr\" or \"rnd\", not {other:?}")),
        }
    }
}

/// Where round robin stands, one position per core so that cores share no cache line. Outlives tables.
#[derive(Debug)]
pub struct Cursor(Box<[Lane]>);

#[derive(Debug)]
#[repr(align(64))]
struct Lane(AtomicUsize);

impl Cursor {
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        // Lanes start apart, so that two cores do not send their first requests to the same instance.
        Self((0..lanes.max(1)).map(|n| Lane(AtomicUsize::new(n))).collect())
    }

    /// The next position of this core.
    #[must_use]
    pub fn next(&self, lane: usize) -> usize {
        self.0[lane % self.0.len()].0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Random positions of one core (splitmix64): quick, even, and not for secrets.
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    #[must_use]
    pub fn roll(&self) -> usize {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[allow(clippy::cast_possible_truncation)] // Any bits will do.
        let position = (z ^ (z >> 31)) as usize;
        position
    }
}

/// The order in which a route's targets are taken.
#[derive(Debug, Default)]
pub struct Ring {
    /// Indexes of targets; empty when each has one slot, in order.
    slots: Vec<u32>,
    targets: usize,
}

impl Ring {
    /// A ring for targets with these shares of the traffic, as [`shares`] gives them.
    #[must_use]
    pub fn new(shares: &[f64]) -> Self {
        let equal = shares.windows(2).all(|w| (w[0] - w[1]).abs() < 1e-9);
        if equal {
            return Self { slots: Vec::new(), targets: shares.len() };
        }
        Self { slots: spread(&counts(shares)), targets: shares.len() }
    }

    /// The target of position `at`, and then each other target once: where to go on when one does not answer.
    /// A target whose share is zero comes last.
    pub fn from(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let first = match self.slots.len() {
            0 if self.targets == 0 => None,
            0 => Some(at % self.targets),
            n => Some(self.slots[at % n] as usize),
        };
        let start = first.unwrap_or(0);
        first.into_iter().chain((1..self.targets).map(move |n| (start + n) % self.targets))
    }

    /// How many positions there are before the order repeats.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.slots.is_empty() { self.targets } else { self.slots.len() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets == 0
    }
}

/// From the weights tags give to the share of each target; the shares sum to 1, unless there is no target.
#[must_use]
pub fn shares(weights: &[Option<f64>]) -> Vec<f64> {
    let fixed: f64 = weights.iter().flatten().sum();
    let free = weights.iter().filter(|w| w.is_none()).count();
    #[allow(clippy::cast_precision_loss)] // A route has far fewer than 2^52 targets.
    let (rest, count) = ((1.0 - fixed).max(0.0), weights.len() as f64);
    if free == 0 && fixed <= 0.0 {
        // Every target says zero: all are standby, so all serve.
        return weights.iter().map(|_| 1.0 / count).collect();
    }
    // Weights above 1 in sum are scaled down; below 1 with nobody to take the rest, up.
    let scale = if fixed > 1.0 || (free == 0 && fixed > 0.0) { 1.0 / fixed } else { 1.0 };
    #[allow(clippy::cast_precision_loss)]
    let share_of_free = if free == 0 { 0.0 } else { rest / free as f64 };
    weights.iter().map(|w| w.map_or(share_of_free, |w| w * scale)).collect()
}

/// Slots of each target: largest remainders, and at least one slot for whoever has a share at all.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn counts(shares: &[f64]) -> Vec<usize> {
    let slots = SLOTS.max(shares.len());
    shares.iter().map(|s| if *s > 0.0 { ((s * slots as f64).round() as usize).max(1) } else { 0 }).collect()
}

/// Spread each target's slots evenly over the ring: target by target, the slot whose turn is due first.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn spread(counts: &[usize]) -> Vec<u32> {
    let mut due: Vec<(f64, u32)> = Vec::with_capacity(counts.iter().sum());
    for (target, count) in counts.iter().enumerate() {
        due.extend((0..*count).map(|n| ((n as f64 + 0.5) / *count as f64, target as u32)));
    }
    due.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    due.into_iter().map(|(_, target)| target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (x, y) in a.iter().zip(b) {
            assert!((x - y).abs() < 1e-9, "{a:?} is not {b:?}");
        }
    }

    #[test]
    fn shares_follow_the_rules_of_weights() {
        close(&shares(&[None, None]), &[0.5, 0.5]);
        close(&shares(&[Some(0.2), None, None]), &[0.2, 0.4, 0.4]);
        close(&shares(&[Some(0.9), Some(0.9)]), &[0.5, 0.5]);
        close(&shares(&[Some(0.1), Some(0.3)]), &[0.25, 0.75]);
        close(&shares(&[Some(1.0), Some(0.0)]), &[1.0, 0.0]);
        close(&shares(&[Some(0.0), Some(0.0)]), &[0.5, 0.5]);
        close(&shares(&[Some(1.0), None]), &[1.0, 0.0]);
        close(&shares(&[Some(0.0), None]), &[0.0, 1.0]);
        assert!(shares(&[]).is_empty());
    }

    #[test]
    fn the_ring_gives_each_target_its_share_evenly() {
        let ring = Ring::new(&[0.2, 0.4, 0.4]);
        let mut seen = [0usize; 3];
        for at in 0..ring.len() {
            seen[ring.from(at).next().expect("has targets")] += 1;
        }
        assert_eq!(seen, [200, 400, 400]);
        // Evenly: any hundred requests in a row are within one slot of the share.
        for start in 0..900 {
            let n = (start..start + 100).filter(|at| ring.from(*at).next() == Some(0)).count();
            assert!((19..=21).contains(&n), "{n} of 100 from {start}");
        }
    }

    #[test]
    fn a_standby_is_only_a_second_choice() {
        let ring = Ring::new(&[1.0, 0.0]);
        assert!((0..100).all(|at| ring.from(at).next() == Some(0)));
        assert_eq!(ring.from(7).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(Ring::new(&[]).from(3).count(), 0);
    }

    #[test]
    fn tiny_weights_are_not_lost_and_equal_ones_cost_no_slots() {
        assert!(counts(&[0.9999, 0.0001]).iter().all(|c| *c > 0));
        assert_eq!(Ring::new(&[0.25; 4]).slots.len(), 0);
        assert_eq!(Ring::new(&[0.25; 4]).from(5).collect::<Vec<_>>(), [1, 2, 3, 0]);
    }

    #[test]
    fn cores_do_not_start_at_the_same_place() {
        let c = Cursor::new(2);
        assert_ne!(c.next(0), c.next(1));
        assert_eq!(c.next(0), 1);
    }
}
