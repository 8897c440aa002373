//! Which counts may become literals.

use std::ops::RangeInclusive;

use tilewright_dsl::call::HostCount;

/// Which values of a count may become literals of a variant. All others are values that a variant is given at each launch; the
/// results are the same.
///
/// ```
/// use tilewright_dsl::call::HostCount;
/// use tilewright_runtime::{CountKey, CountPolicy};
///
/// let captured = CountPolicy::Buckets(vec![8, 16, 32]);
/// assert_eq!(captured.bind(16), HostCount::Exact(16));
/// assert_eq!(captured.bind(17), HostCount::Runtime(17));
/// let keys: Vec<_> = captured.reachable_keys(10..=20).collect();
/// assert_eq!(keys, [CountKey::Literal(16), CountKey::Value]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CountPolicy {
    /// All.
    Exact,
    /// All up to this one.
    ExactUpTo(u64),
    /// These, for example the sizes that an engine pads to.
    Buckets(Vec<u64>),
    /// All multiples of this one.
    MultipleOf(u64),
    /// None.
    Runtime,
    /// None: the count is read from device memory, and only a [`device_count`](crate::device_count) says where.
    Device,
}

/// By what a policy tells counts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountKey {
    /// This count, as a literal.
    Literal(u64),
    /// Any count that is no literal.
    Value,
}

impl CountPolicy {
    /// Whether a count may become a literal.
    pub fn is_literal(&self, count: u64) -> bool {
        match self {
            Self::Exact => true,
            Self::ExactUpTo(most) => count <= *most,
            Self::Buckets(buckets) => buckets.contains(&count),
            Self::MultipleOf(factor) => count.checked_rem(*factor) == Some(0),
            Self::Runtime | Self::Device => false,
        }
    }

    /// A count as the argument of a call. A count on the host has no place in device memory: under
    /// [`Device`](Self::Device) it is bound as under [`Runtime`](Self::Runtime).
    pub fn bind(&self, count: u64) -> HostCount {
        match self.is_literal(count) {
            true => HostCount::Exact(count),
            false => HostCount::Runtime(count),
        }
    }

    /// The key of a count.
    pub fn key(&self, count: u64) -> CountKey {
        match self.is_literal(count) {
            true => CountKey::Literal(count),
            false => CountKey::Value,
        }
    }

    /// All keys that counts of a range have, each once, literals first.
    pub fn reachable_keys(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = CountKey> + use<> {
        let has_values = self.key_count(range.clone()) > self.literal_count(range.clone());
        let value = has_values.then_some(CountKey::Value);
        self.literals(range).map(CountKey::Literal).chain(value)
    }

    /// How many keys that are, without making them.
    pub fn key_count(&self, range: RangeInclusive<u64>) -> u64 {
        let literals = self.literal_count(range.clone());
        let in_range = range.end().saturating_sub(*range.start()).saturating_add(1);
        literals + u64::from(!range.is_empty() && literals < in_range)
    }

    fn literals(&self, range: RangeInclusive<u64>) -> Box<dyn Iterator<Item = u64>> {
        let (start, end) = range.into_inner();
        match self {
            Self::Exact => Box::new(start..=end),
            Self::ExactUpTo(most) => Box::new(start..=end.min(*most)),
            Self::Buckets(_) => Box::new(self.buckets(start..=end).into_iter()),
            Self::MultipleOf(0) | Self::Runtime | Self::Device => Box::new(std::iter::empty()),
            Self::MultipleOf(factor) => {
                let factor = *factor;
                let first = start.checked_next_multiple_of(factor);
                Box::new(first.into_iter().flat_map(move |first| {
                    std::iter::successors(Some(first), move |count| count.checked_add(factor))
                        .take_while(move |count| *count <= end)
                }))
            }
        }
    }

    fn literal_count(&self, range: RangeInclusive<u64>) -> u64 {
        let (start, end) = range.into_inner();
        let among = |start: u64, end: u64| {
            if end < start {
                0
            } else {
                (end - start).saturating_add(1)
            }
        };
        match self {
            Self::Exact => among(start, end),
            Self::ExactUpTo(most) => among(start, end.min(*most)),
            Self::Buckets(_) => self.buckets(start..=end).len() as u64,
            Self::MultipleOf(0) | Self::Runtime | Self::Device => 0,
            Self::MultipleOf(_) if end < start => 0,
            Self::MultipleOf(factor) => (end / factor + 1).saturating_sub(start.div_ceil(*factor)),
        }
    }

    /// Those of a range, in order, each once.
    fn buckets(&self, range: RangeInclusive<u64>) -> Vec<u64> {
        let Self::Buckets(all) = self else { return Vec::new() };
        let mut buckets: Vec<u64> = all.iter().copied().filter(|bucket| range.contains(bucket)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_range_are_those_of_its_counts() {
        let policies = [
            CountPolicy::Exact,
            CountPolicy::ExactUpTo(0),
            CountPolicy::ExactUpTo(7),
            CountPolicy::Buckets(vec![]),
            CountPolicy::Buckets(vec![9, 3, 9, 4, 1000]),
            CountPolicy::MultipleOf(0),
            CountPolicy::MultipleOf(1),
            CountPolicy::MultipleOf(4),
            CountPolicy::Runtime,
            CountPolicy::Device,
        ];
        for policy in &policies {
            for (start, end) in [(0, 0), (0, 20), (3, 3), (4, 9), (8, 20), (9, 8)] {
                let mut expected: Vec<CountKey> = Vec::new();
                for count in start..=end {
                    if !expected.contains(&policy.key(count)) {
                        expected.push(policy.key(count));
                    }
                }
                expected.sort_by_key(|key| *key == CountKey::Value);
                let found: Vec<_> = policy.reachable_keys(start..=end).collect();
                assert_eq!(found, expected, "{policy:?} of {start}..={end}");
                assert_eq!(
                    policy.key_count(start..=end),
                    found.len() as u64,
                    "{policy:?} of {start}..={end}"
                );
            }
        }
    }

    #[test]
    fn ranges_without_end_are_counted_and_begun_at_once() {
        assert_eq!(CountPolicy::Exact.key_count(0..=u64::MAX), u64::MAX);
        assert_eq!(CountPolicy::MultipleOf(1 << 40).key_count(1..=u64::MAX), 1 << 24);
        let mut keys = CountPolicy::MultipleOf(u64::MAX).reachable_keys(2..=u64::MAX);
        assert_eq!(keys.next(), Some(CountKey::Literal(u64::MAX)));
        assert_eq!((keys.next(), keys.next()), (Some(CountKey::Value), None));
    }
}
