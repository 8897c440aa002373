//! What a rank asks of its group, as all ranks compare it.

use std::fmt;

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
        })
    }

    /// Where a rank's part begins.
    pub(super) fn start(&self, rank: usize) -> u64 {
        self.parts[..rank].iter().sum()
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
        } = self;
        let sizes = [*operation as u64, *element as u64, *rows, *columns, parts.len() as u64];
        sizes.iter().chain(parts).fold(0, |hash, &word| mix(hash, word))
    }

    /// As words, for an exchange.
    pub(super) fn words(&self) -> Vec<u64> {
        let mut words = vec![self.operation as u64, self.element as u64, self.rows, self.columns];
        words.extend(&self.parts);
        words
    }

    /// Back from words. `None` for words that are no request.
    pub(super) fn from_words(words: &[u64]) -> Option<Self> {
        let (&[operation, element, rows, columns], parts) = words.split_first_chunk::<4>()?;
        let operations = [Operation::AllReduce, Operation::AllGather, Operation::ReduceScatter];
        Some(Self {
            operation: *operations.get(usize::try_from(operation).ok()?)?,
            element: *ElementType::ALL.get(usize::try_from(element).ok()?)?,
            rows,
            columns,
            parts: parts.to_vec(),
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
        Ok(())
    }
}
