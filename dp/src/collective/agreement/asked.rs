//! What a rank has asked for so far: all of it as one number, the latest as they are.

use std::collections::VecDeque;

use super::super::RequestedCollective;
use super::super::request::mix;

/// How many of the latest requests are remembered.
pub(super) const REMEMBERED: usize = 32;

/// The requests of a rank, in order.
#[derive(Default)]
pub(super) struct Asked {
    count: u64,
    fingerprint: u64,
    /// Each with the fingerprint of all up to it.
    latest: VecDeque<(u64, RequestedCollective)>,
}

impl Asked {
    pub(super) fn push(&mut self, request: &RequestedCollective) {
        self.fingerprint = mix(self.fingerprint, request.fingerprint());
        self.count += 1;
        let oldest = match self.latest.len() {
            REMEMBERED => self.latest.pop_front(),
            _ => None,
        };
        // In the memory of what is forgotten.
        let kept = match oldest {
            Some((_, mut kept)) => {
                kept.become_like(request);
                kept
            }
            None => request.clone(),
        };
        self.latest.push_back((self.fingerprint, kept));
    }

    /// Of all requests and their order.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The number of the first request that is remembered, and the fingerprint of all up to each, as words.
    pub(super) fn marks(&self) -> Vec<u64> {
        let first = self.count - self.latest.len() as u64;
        std::iter::once(first)
            .chain(self.latest.iter().map(|(mark, _)| *mark))
            .collect()
    }

    /// A request by its number, from 0.
    pub(super) fn get(&self, number: u64) -> Option<&RequestedCollective> {
        let first = self.count - self.latest.len() as u64;
        let at = number.checked_sub(first)?;
        self.latest.get(usize::try_from(at).ok()?).map(|(_, request)| request)
    }
}

/// The number of the first request after which [marks](Asked::marks) differ, as far as all ranks remember; that beyond which
/// one has asked for nothing counts.
pub(super) fn first_difference<'m>(all: impl Iterator<Item = &'m [u64]>) -> Option<u64> {
    let all: Vec<(u64, &[u64])> = all
        .map(|marks| marks.split_first().map_or((0, marks), |(first, marks)| (*first, marks)))
        .collect();
    let first = all.iter().map(|(first, _)| *first).max()?;
    let mark = |&(begin, marks): &(u64, &[u64]), number: u64| {
        marks.get(usize::try_from(number.checked_sub(begin)?).ok()?).copied()
    };
    let one = all.first()?;
    (first..first + REMEMBERED as u64).find(|&number| all.iter().any(|other| mark(other, number) != mark(one, number)))
}

#[cfg(test)]
mod tests {
    use tilewright_dsl::element::ElementType;

    use super::super::super::Operation;
    use super::*;

    fn request(rows: u64) -> RequestedCollective {
        RequestedCollective {
            operation: Operation::AllGather,
            element: ElementType::BF16,
            rows,
            columns: 7,
            parts: vec![rows, 0],
            starts: Vec::new(),
        }
    }

    fn asked(rows: impl IntoIterator<Item = u64>) -> Asked {
        let mut asked = Asked::default();
        rows.into_iter().for_each(|rows| asked.push(&request(rows)));
        asked
    }

    fn difference(one: &Asked, other: &Asked) -> Option<u64> {
        first_difference([one.marks(), other.marks()].iter().map(Vec::as_slice))
    }

    #[test]
    fn the_first_difference_is_found_wherever_it_is_remembered() {
        let right = asked(0..100);
        assert_eq!(difference(&right, &asked(0..100)), None);
        for wrong in 68..100 {
            let other = asked((0..100).map(|rows| if rows == wrong { 1000 } else { rows }));
            assert_eq!(difference(&right, &other), Some(wrong));
            assert_eq!(other.get(wrong), Some(&request(1000)));
            assert_ne!(right.fingerprint(), other.fingerprint());
        }
        // One that has asked for less asked for nothing then.
        let fewer = asked(0..98);
        assert_eq!((difference(&right, &fewer), fewer.get(98)), (Some(98), None));
        // What is forgotten differs from the first that is remembered on.
        let old = asked((0..100).map(|rows| if rows == 3 { 1000 } else { rows }));
        assert_eq!(difference(&right, &old), Some(68));
        assert_eq!(right.get(67), None);
    }

    #[test]
    fn order_counts() {
        assert_ne!(asked([1, 2]).fingerprint(), asked([2, 1]).fingerprint());
        assert_ne!(asked([0]).fingerprint(), asked([]).fingerprint());
        assert_ne!(asked([0, 0]).fingerprint(), asked([0]).fingerprint());
    }
}
