//! Times, by how many were about as long.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Each doubling is divided into so many.
const STEPS: usize = 4;
/// The first bucket ends here.
const FIRST_NANOS: u64 = 256;
/// Up to 256 ns times 2^22, which is a second.
const BUCKETS: usize = 22 * STEPS + 1;

/// How many times were about how long: four buckets for each doubling, from 256 ns to one second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    nanos: u64,
}

/// The same as it runs.
pub(super) struct TallyOfTimes {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Histogram {
    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The end of the bucket in which the time lies that this share of all does not exceed: `quantile(0.99)` is at most a fifth
    /// above it. `None` if there are no times.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (share.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        at.map(|bucket| Duration::from_nanos(end_of(bucket)))
    }

    /// The end of each bucket, and how many times are in it. The last one has all that are longer.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let with_end = |(bucket, &count)| (Duration::from_nanos(end_of(bucket)), count);
        self.counts.iter().enumerate().map(with_end)
    }

    /// What came after `before`, an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            counts: std::array::from_fn(|bucket| self.counts[bucket].saturating_sub(before.counts[bucket])),
            nanos: self.nanos.saturating_sub(before.nanos),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            nanos: 0,
        }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .finish_non_exhaustive()
    }
}

impl Default for TallyOfTimes {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            nanos: AtomicU64::new(0),
        }
    }
}

impl TallyOfTimes {
    pub(super) fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanos)].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    pub(super) fn read(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Relaxed)),
            nanos: self.nanos.load(Relaxed),
        }
    }
}

/// The bucket is the first whose end is no less than the time.
fn bucket_of(nanos: u64) -> usize {
    let Some(beyond) = nanos.checked_sub(1).filter(|last| *last >= FIRST_NANOS) else {
        return 0;
    };
    let doublings = (beyond / FIRST_NANOS).ilog2();
    let step = (beyond >> doublings) - FIRST_NANOS;
    let step = step as usize * STEPS / FIRST_NANOS as usize;
    (1 + doublings as usize * STEPS + step).min(BUCKETS - 1)
}

fn end_of(bucket: usize) -> u64 {
    let (doublings, step) = (bucket / STEPS, bucket % STEPS);
    (FIRST_NANOS << doublings) + (FIRST_NANOS << doublings) / STEPS as u64 * step as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_does_not_end_before_it() {
        for bucket in 0..BUCKETS {
            let end = end_of(bucket);
            assert_eq!(bucket_of(end), bucket, "{end}");
            assert_eq!(bucket_of(end + 1), (bucket + 1).min(BUCKETS - 1), "{end}");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_at_most_a_quarter_above_the_times() {
        let tally = TallyOfTimes::default();
        for micros in 1..=1000 {
            tally.add(Duration::from_micros(micros));
        }
        let all = tally.read();
        assert_eq!((all.count(), all.sum()), (1000, Duration::from_micros(500_500)));
        for (share, micros) in [(0.5, 500), (0.99, 990), (1.0, 1000), (0.0, 1)] {
            let found = all.quantile(share).expect("there are times").as_nanos() as f64 / 1e3;
            let exact = f64::from(micros);
            assert!((exact..exact * 1.25).contains(&found), "{share}: {found}");
        }
        tally.add(Duration::from_secs(90));
        assert_eq!(tally.read().since(&all).count(), 1);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
