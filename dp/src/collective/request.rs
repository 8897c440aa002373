//! What a rank asks of its group, as all ranks compare it.

use std::fmt;
use std::ops::Range;

use tilewright_dsl::element::{Element, ElementType};
use tilewright_runtime::TensorViewMut;

use super::CollectiveError;

/// A kind of collective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The sum everywhere.
    AllReduce,
    /// Every part everywhere.
    AllGather,
    /// The sum of each part on its rank.
    ReduceScatter,
}

/// One collective with its sizes. All ranks of a group have to ask for an equal one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestedCollective {
    /// What is asked for.
    pub operation: Operation,
    /// The type of the elements.
    pub element: ElementType,
    /// Rows of the buffer.
    pub rows: u64,
    /// Elements of a row.
    pub columns: u64,
    /// Rows of each rank's part; none for an all-reduce.
    pub parts: Vec<u64>,
    /// The row at which each rank's part begins; none where they follow each other from row 0 on.
    pub starts: Vec<u64>,
}

impl RequestedCollective {
    /// Checks the parts against the buffer and the number of ranks.
    pub(super) fn new<T: Element>(
        operation: Operation,
        buffer: &TensorViewMut<'_, T, 2>,
        parts: &[u64],
        ranks: usize,
    ) -> Result<Self, CollectiveError> {
        let [rows, columns] = buffer.extents().map(|extent| extent as u64);
        if operation != Operation::AllReduce && parts.len() != ranks {
            return Err(CollectiveError::WrongNumberOfParts {
                parts: parts.len(),
                ranks,
            });
        }
        let sum = parts.iter().try_fold(0u64, |sum, &part| sum.checked_add(part));
        if sum.is_none_or(|sum| sum > rows) {
            return Err(CollectiveError::PartsTooLarge {
                parts: parts.to_vec(),
                rows,
            });
        }
        Ok(Self {
            operation,
            element: T::TYPE,
            rows,
            columns,
            parts: parts.to_vec(),
            starts: Vec::new(),
        })
    }

    /// The same for parts that lie anywhere in the buffer, no two in one place.
    pub(super) fn at<T: Element>(
        operation: Operation,
        buffer: &TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
        ranks: usize,
    ) -> Result<Self, CollectiveError> {
        let rows = buffer.extents()[0] as u64;
        let mut in_order: Vec<_> = places.iter().filter(|place| !place.is_empty()).collect();
        in_order.sort_by_key(|place| place.start);
        let are_apart = in_order.is_sorted_by(|one, next| one.end <= next.start);
        let is_within = |place: &Range<u64>| place.start <= place.end && place.end <= rows;
        if !are_apart || !places.iter().all(is_within) {
            let places = places.to_vec();
            return Err(CollectiveError::WrongPlaces { places, rows });
        }
        let parts: Vec<_> = places.iter().map(|place| place.end - place.start).collect();
        let request = Self::new(operation, buffer, &parts, ranks)?;
        let follow_each_other = (0..ranks).all(|rank| request.start(rank) == places[rank].start);
        Ok(match follow_each_other {
            true => request,
            false => Self {
                starts: places.iter().map(|place| place.start).collect(),
                ..request
            },
        })
    }

    /// Where a rank's part begins.
    pub(super) fn start(&self, rank: usize) -> u64 {
        match self.starts.get(rank) {
            Some(&start) => start,
            None => self.parts[..rank].iter().sum(),
        }
    }

    /// Where the last part ends.
    pub(super) fn end(&self) -> u64 {
        let ends = self.starts.iter().zip(&self.parts).map(|(start, part)| start + part);
        ends.max().unwrap_or_else(|| self.parts.iter().sum())
    }

    /// Compares what the ranks ask for with what this one does.
    pub(super) fn compare(&self, rank: usize, all: impl Iterator<Item = Option<Self>>) -> Result<(), CollectiveError> {
        for (other, theirs) in all.enumerate() {
            if theirs.as_ref() != Some(self) {
                return Err(CollectiveError::Disagreement {
                    rank,
                    mine: self.to_string(),
                    other,
                    theirs: theirs.map_or("something else".to_owned(), |theirs| theirs.to_string()),
                });
            }
        }
        Ok(())
    }

    /// A number that other requests do not have, but by chance.
    pub(super) fn fingerprint(&self) -> u64 {
        let Self {
            operation,
            element,
            rows,
            columns,
            parts,
            starts,
        } = self;
        let sizes = [*operation as u64, *element as u64, *rows, *columns, parts.len() as u64];
        let words = sizes.iter().chain(parts).chain(starts);
        words.fold(0, |hash, &word| mix(hash, word))
    }

    /// Becomes the same as another, in the memory of its own.
    pub(super) fn become_like(&mut self, other: &Self) {
        let [mut parts, mut starts] = [&mut self.parts, &mut self.starts].map(std::mem::take);
        parts.clone_from(&other.parts);
        starts.clone_from(&other.starts);
        *self = Self {
            parts,
            starts,
            ..*other
        };
    }

    /// As words, for an exchange.
    pub(super) fn words(&self) -> Vec<u64> {
        let count = self.parts.len() as u64;
        let mut words = vec![
            self.operation as u64,
            self.element as u64,
            self.rows,
            self.columns,
            count,
        ];
        words.extend(self.parts.iter().chain(&self.starts));
        words
    }

    /// Back from words. `None` for words that are no request.
    pub(super) fn from_words(words: &[u64]) -> Option<Self> {
        let (&[operation, element, rows, columns, count], words) = words.split_first_chunk::<5>()?;
        let (parts, starts) = words.split_at_checked(usize::try_from(count).ok()?)?;
        if !starts.is_empty() && starts.len() != parts.len() {
            return None;
        }
        let operations = [Operation::AllReduce, Operation::AllGather, Operation::ReduceScatter];
        Some(Self {
            operation: *operations.get(usize::try_from(operation).ok()?)?,
            element: *ElementType::ALL.get(usize::try_from(element).ok()?)?,
            rows,
            columns,
            parts: parts.to_vec(),
            starts: starts.to_vec(),
        })
    }
}

/// A number for another one and a word.
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash.rotate_left(17) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

impl fmt::Display for RequestedCollective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::AllReduce => "all-reduce",
            Operation::AllGather => "all-gather",
            Operation::ReduceScatter => "reduce-scatter",
        };
        write!(f, "{operation} of {} x {} {}", self.rows, self.columns, self.element)?;
        if !self.parts.is_empty() {
            write!(f, " in parts of {:?} rows", self.parts)?;
        }
        if !self.starts.is_empty() {
            write!(f, " from rows {:?} on", self.starts)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tilewright_runtime::Device;

    use super::*;

    fn at(places: &[Range<u64>]) -> Result<RequestedCollective, CollectiveError> {
        let mut buffer = Device::cpu().zeros::<u8, 2>([10, 3])?;
        RequestedCollective::at(Operation::AllGather, &buffer.view_mut(), places, 3)
    }

    #[test]
    fn parts_that_follow_each_other_are_one_request_however_they_are_asked_for() {
        let mut buffer = Device::cpu().zeros::<u8, 2>([10, 3]).unwrap();
        let parts = RequestedCollective::new(Operation::AllGather, &buffer.view_mut(), &[2, 0, 5], 3).unwrap();
        let placed = at(&[0..2, 2..2, 2..7]).unwrap();
        assert_eq!(placed, parts);
        assert_eq!((placed.start(2), placed.end()), (2, 7));
    }

    #[test]
    fn parts_anywhere_are_read_as_they_were_told() {
        let placed = at(&[6..8, 0..0, 1..4]).unwrap();
        assert_eq!((placed.start(0), placed.start(2), placed.end()), (6, 1, 8));
        let words = placed.words();
        assert_eq!(RequestedCollective::from_words(&words).as_ref(), Some(&placed));
        assert_eq!(RequestedCollective::from_words(&words[..words.len() - 1]), None);
        assert_ne!(placed.fingerprint(), at(&[6..8, 0..0, 2..5]).unwrap().fingerprint());
        assert!(
            placed
                .to_string()
                .ends_with("in parts of [2, 0, 3] rows from rows [6, 0, 1] on"),
            "{placed}"
        );
    }

    #[test]
    fn parts_in_one_place_or_beyond_the_buffer_are_refused() {
        #[allow(clippy::reversed_empty_ranges)]
        let wrong = [[0..3, 2..4, 5..6], [0..1, 2..4, 9..11], [0..1, 5..4, 6..7]];
        for places in wrong {
            let error = at(&places).unwrap_err();
            assert!(
                matches!(error, CollectiveError::WrongPlaces { rows: 10, .. }),
                "{error}"
            );
        }
        assert!(matches!(
            at(&[0..1, 1..2]).unwrap_err(),
            CollectiveError::WrongNumberOfParts { parts: 2, ranks: 3 }
        ));
    }
}
