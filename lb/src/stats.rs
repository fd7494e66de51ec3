//! Latency in a fixed number of buckets: cheap to record, exact to about a tenth.
//!
//! Eight buckets per doubling from 1 µs to about 68 s, all atomics of one core; readers add the cores up.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const PER_DOUBLING: u32 = 8;
const DOUBLINGS: u32 = 26;
pub const BUCKETS: usize = (PER_DOUBLING * DOUBLINGS) as usize;

/// Counts by latency.
#[derive(Debug)]
pub struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        self.0[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// Add this histogram's counts to `sum`.
    pub fn add_to(&self, sum: &mut [u64; BUCKETS]) {
        for (total, own) in sum.iter_mut().zip(&self.0) {
            *total += own.load(Ordering::Relaxed);
        }
    }
}

/// The bucket of a duration.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2();
    if doubling >= DOUBLINGS {
        return BUCKETS - 1;
    }
    // The next three bits below the leading one.
    let fine = if doubling >= 3 { (micros >> (doubling - 3)) & 7 } else { (micros << (3 - doubling)) & 7 };
    (doubling * PER_DOUBLING) as usize + usize::try_from(fine).unwrap_or(0)
}

/// The upper end of a bucket, in microseconds.
fn upper(bucket: usize) -> f64 {
    let (doubling, fine) = (bucket / PER_DOUBLING as usize, bucket % PER_DOUBLING as usize);
    #[allow(clippy::cast_precision_loss)] // Both are below 256.
    let (base, part) = ((1u64 << doubling) as f64, (fine + 1) as f64 / f64::from(PER_DOUBLING));
    base * (1.0 + part)
}

/// The duration below which the fraction `q` (0 to 1) of the counted requests took; `None` without requests.
#[must_use]
pub fn quantile(counts: &[u64; BUCKETS], q: f64) -> Option<Duration> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let wanted = ((total as f64 * q).ceil() as u64).clamp(1, total);
    let mut seen = 0;
    for (n, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return Some(Duration::from_nanos({
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let nanos = (upper(n) * 1000.0) as u64;
                nanos
            }));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_rise_with_the_duration_and_never_overflow() {
        let mut last = 0;
        for micros in 1..200_000u64 {
            let b = bucket(Duration::from_micros(micros));
            assert!(b >= last && b < BUCKETS);
            last = b;
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::ZERO), 0);
    }

    #[test]
    fn quantiles_are_within_an_eighth() {
        let h = Histogram::default();
        for n in 1..=1000 {
            h.record(Duration::from_micros(n * 10));
        }
        let mut sum = [0; BUCKETS];
        h.add_to(&mut sum);
        for (q, micros) in [(0.5, 5000.0), (0.99, 9900.0)] {
            let got = quantile(&sum, q).expect("counted").as_secs_f64() * 1e6;
            assert!((got / micros - 1.0).abs() < 0.126, "p{q}: {got}");
        }
        assert_eq!(quantile(&[0; BUCKETS], 0.5), None);
    }
}
