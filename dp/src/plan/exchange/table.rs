//! One mechanism for all forms: words of every rank, checked, column by column.

use std::marker::PhantomData;

use super::super::{MAX_RANKS, MAX_SIZES, check_size};
use super::ExchangeError;

/// How one word of every rank becomes what all conclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Every rank's own is kept.
    List,
    /// The smallest: a vote that every rank has to give.
    Smallest,
    /// The largest: a vote that one rank can give.
    Largest,
}

/// One word of the vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// How it is reduced.
    pub reduction: Reduction,
    /// What stands for a rank that is dead.
    pub dead: u64,
    /// The largest value that a living rank sends.
    pub largest: u64,
}

impl Column {
    pub(super) const fn new(name: &'static str, reduction: Reduction, dead: u64, largest: u64) -> Self {
        Self {
            name,
            reduction,
            dead,
            largest,
        }
    }
}

/// The largest count that ranks tell.
pub(super) const COUNT: u64 = u32::MAX as u64;
/// Stands for a dead rank where the smallest decides.
pub(super) const NEUTRAL: u64 = i32::MAX as u64;

/// What a rank tells the others before a step.
pub trait Packed: Sized {
    /// The form's name.
    const NAME: &'static str;
    /// The form's number, sent first, so that ranks of different forms find each other out.
    const NUMBER: u64;
    /// What is sent, in order.
    const COLUMNS: &'static [Column];

    /// One word for each column.
    fn words(&self) -> Vec<u64>;

    /// Fills in what stands for dead ranks where it follows from the living.
    fn fill_dead(table: &mut Table<Self>, living: &[bool]) {
        let _ = (table, living);
    }

    /// Refuses words of a rank that contradict each other. Each is within its column.
    ///
    /// # Errors
    /// A rule of the form is broken.
    fn check(rank: usize, words: &[u64]) -> Result<(), ExchangeError> {
        let _ = (rank, words);
        Ok(())
    }
}

fn check<P: Packed>(rank: usize, words: &[u64]) -> Result<(), ExchangeError> {
    if words.len() != P::COLUMNS.len() {
        return Err(ExchangeError::WrongLength {
            rank,
            words: words.len(),
            columns: P::COLUMNS.len(),
        });
    }
    for (&Column { name, largest, .. }, &value) in P::COLUMNS.iter().zip(words) {
        if value > largest {
            return Err(ExchangeError::TooLarge {
                column: name,
                rank,
                value,
                largest,
            });
        }
    }
    P::check(rank, words)
}

/// Everybody's words; the same on every rank.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Table<P> {
    ranks: usize,
    /// One column after the other.
    words: Vec<u64>,
    form: PhantomData<fn() -> P>,
}

impl<P> Clone for Table<P> {
    fn clone(&self) -> Self {
        Self {
            ranks: self.ranks,
            words: self.words.clone(),
            form: PhantomData,
        }
    }
}

impl<P: Packed> Table<P> {
    /// Of what each rank tells. `dead` ranks are not looked at.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn new(ranks: &[P], dead: &[usize]) -> Result<Self, ExchangeError> {
        check_ranks(ranks.len())?;
        let vectors: Vec<_> = ranks.iter().map(P::words).collect();
        Self::decode(&vectors, dead)
    }

    /// Reads the words of every rank. Those of `dead` ranks are not looked at.
    ///
    /// # Errors
    /// A vector is of another form, a value is too large, all ranks are dead or one that is dead does not exist.
    pub fn decode(vectors: &[Vec<u64>], dead: &[usize]) -> Result<Self, ExchangeError> {
        let ranks = vectors.len();
        check_ranks(ranks)?;
        let mut living = vec![true; ranks];
        for &rank in dead {
            *living.get_mut(rank).ok_or(ExchangeError::NoSuchRank { rank, ranks })? = false;
        }
        if !living.contains(&true) {
            return Err(ExchangeError::AllDead { ranks });
        }
        let mut words = Vec::with_capacity(ranks * P::COLUMNS.len());
        for (rank, vector) in vectors.iter().enumerate().filter(|&(rank, _)| living[rank]) {
            check::<P>(rank, vector)?;
        }
        for (at, column) in P::COLUMNS.iter().enumerate() {
            let word = |rank: usize| if living[rank] { vectors[rank][at] } else { column.dead };
            words.extend((0..ranks).map(word));
        }
        let mut table = Self {
            ranks,
            words,
            form: PhantomData,
        };
        P::fill_dead(&mut table, &living);
        Ok(table)
    }

    /// The number of ranks, dead ones too.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// The words of a rank, as it sent them; a dead rank's are those that stand for it.
    ///
    /// # Errors
    /// There is no such rank.
    pub fn encode(&self, rank: usize) -> Result<Vec<u64>, ExchangeError> {
        let ranks = self.ranks;
        if rank >= ranks {
            return Err(ExchangeError::NoSuchRank { rank, ranks });
        }
        Ok(self.words.iter().skip(rank).step_by(ranks).copied().collect())
    }

    /// What every rank sent in a column.
    pub(super) fn list(&self, column: usize) -> &[u64] {
        &self.words[column * self.ranks..][..self.ranks]
    }

    pub(super) fn list_mut(&mut self, column: usize) -> &mut [u64] {
        &mut self.words[column * self.ranks..][..self.ranks]
    }

    pub(super) fn smallest(&self, column: usize) -> u64 {
        self.list(column).iter().copied().min().unwrap_or(0)
    }

    pub(super) fn largest(&self, column: usize) -> u64 {
        self.list(column).iter().copied().max().unwrap_or(0)
    }

    /// Whether every rank voted for it.
    pub(super) fn all(&self, column: usize) -> bool {
        self.smallest(column) == 1
    }
}

fn check_ranks(ranks: usize) -> Result<(), ExchangeError> {
    match ranks as u64 {
        1..=MAX_RANKS => Ok(()),
        _ => Err(ExchangeError::Ranks { ranks }),
    }
}

/// The smallest of captured sizes that holds so many.
pub(super) fn holding(field: &'static str, sizes: &[u64], count: u64) -> Result<Option<u64>, ExchangeError> {
    if sizes.len() > MAX_SIZES {
        return Err(ExchangeError::Sizes { sizes: sizes.len() });
    }
    sizes
        .iter()
        .try_for_each(|&size| check_size(field, size))
        .map_err(Box::new)?;
    Ok(sizes.iter().copied().filter(|&size| size >= count).min())
}
