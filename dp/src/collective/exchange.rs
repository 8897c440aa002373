//! How ranks tell each other a few numbers on the host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tilewright_runtime::Deadline;

use super::{CollectiveError, check_ranks};

/// A place where all ranks of a group show each other a few words, and see the same.
pub trait Exchange: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// How long a rank waits for the others.
    fn limit(&self) -> Duration;

    /// Shows words to all ranks and returns the words of each.
    ///
    /// # Errors
    /// A rank is gone or late, now or before.
    fn all_gather(&self, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError>;

    /// The same for ranks that have waited already, and wait for `limit` at most now. An exchange that cannot tell waits as
    /// always.
    ///
    /// # Errors
    /// As for [`all_gather`](Self::all_gather).
    fn all_gather_within(&self, words: &[u64], limit: Duration) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let _ = limit;
        self.all_gather(words)
    }
}

/// An exchange between threads of one process. It can be cloned by nobody: dropping it means leaving.
pub struct ThreadExchange(Seat<Vec<u64>>);

impl ThreadExchange {
    /// One for each rank. `limit` is how long a rank waits for the others.
    ///
    /// # Errors
    /// There are no ranks, or more than [`MAX_RANKS`](crate::plan::MAX_RANKS).
    pub fn ranks(size: usize, limit: Duration) -> Result<Vec<Self>, CollectiveError> {
        check_ranks(size)?;
        Ok(Seat::all(size, limit).into_iter().map(Self).collect())
    }
}

impl Exchange for ThreadExchange {
    fn rank(&self) -> usize {
        self.0.rank
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn limit(&self) -> Duration {
        self.0.table.limit
    }

    fn all_gather(&self, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        self.all_gather_within(words, self.limit())
    }

    fn all_gather_within(&self, words: &[u64], limit: Duration) -> Result<Vec<Vec<u64>>, CollectiveError> {
        self.0.meet_within(words.to_vec(), limit).map(|all| all.to_vec())
    }
}

/// A rank's seat at a table where all ranks put down a value and then see all of them, round by round.
pub(super) struct Seat<V> {
    pub(super) rank: usize,
    table: Arc<Table<V>>,
}

struct Table<V> {
    limit: Duration,
    round: Mutex<Round<V>>,
    changed: Condvar,
}

struct Round<V> {
    number: u64,
    values: Vec<Option<V>>,
    /// What was put down in the round before.
    last: Arc<[V]>,
    failure: Option<CollectiveError>,
}

impl<V> Seat<V> {
    /// A seat for each rank, whose number was checked.
    pub(super) fn all(size: usize, limit: Duration) -> Vec<Self> {
        let round = Round {
            number: 0,
            values: (0..size).map(|_| None).collect(),
            last: Arc::new([]),
            failure: None,
        };
        let table = Arc::new(Table {
            limit,
            round: Mutex::new(round),
            changed: Condvar::new(),
        });
        let seat = |rank| Self {
            rank,
            table: table.clone(),
        };
        (0..size).map(seat).collect()
    }

    pub(super) fn size(&self) -> usize {
        self.table.round.lock().values.len()
    }

    /// Puts down a value and waits for those of the others.
    pub(super) fn meet(&self, value: V) -> Result<Arc<[V]>, CollectiveError> {
        self.meet_within(value, self.table.limit)
    }

    fn meet_within(&self, value: V, limit: Duration) -> Result<Arc<[V]>, CollectiveError> {
        let Table { round, changed, .. } = &*self.table;
        let deadline = Deadline::after(limit);
        let mut round = round.lock();
        if let Some(failure) = &round.failure {
            return Err(repeated(failure));
        }
        let number = round.number;
        round.values[self.rank] = Some(value);
        if round.values.iter().all(Option::is_some) {
            round.last = round.values.iter_mut().filter_map(Option::take).collect();
            round.number += 1;
            changed.notify_all();
            return Ok(round.last.clone());
        }
        loop {
            match deadline.instant() {
                Some(instant) => {
                    changed.wait_until(&mut round, instant);
                }
                None => changed.wait(&mut round),
            }
            // No later round can have begun: it would need this rank.
            if round.number > number {
                return Ok(round.last.clone());
            }
            if let Some(failure) = &round.failure {
                return Err(failure.clone());
            }
            if deadline.is_past() {
                let values = round.values.iter().enumerate();
                let missing = values
                    .filter(|(_, value)| value.is_none())
                    .map(|(rank, _)| rank)
                    .collect();
                return Err(self.fail(
                    &mut round,
                    CollectiveError::Late {
                        rank: self.rank,
                        limit,
                        missing,
                    },
                ));
            }
        }
    }

    /// Ends the group: every rank that waits or comes gets an error.
    pub(super) fn give_up(&self, error: &CollectiveError) {
        self.fail(&mut self.table.round.lock(), error.clone());
    }

    fn fail(&self, round: &mut Round<V>, error: CollectiveError) -> CollectiveError {
        round.failure.get_or_insert_with(|| error.clone());
        self.table.changed.notify_all();
        error
    }
}

impl<V> Drop for Seat<V> {
    fn drop(&mut self) {
        self.fail(&mut self.table.round.lock(), CollectiveError::Gone { gone: self.rank });
    }
}

/// A failure for a rank that comes later. That a rank is gone stays what it is.
pub(super) fn repeated(failure: &CollectiveError) -> CollectiveError {
    match failure {
        CollectiveError::Gone { .. } | CollectiveError::Refused { .. } | CollectiveError::Failed { .. } => {
            failure.clone()
        }
        other => CollectiveError::Failed {
            reason: other.to_string(),
        },
    }
}

impl fmt::Debug for ThreadExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadExchange(rank {})", self.0.rank)
    }
}
