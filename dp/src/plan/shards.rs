//! Context-parallel shards: which rows of a rank each of its parts has, and how they meet in the gathered buffer.

use std::ops::Range;

use super::topology::check_ranks;
use super::{ContextParallel, MAX_RANKS, MAX_ROWS, PlanError, Topology};
use crate::layout::GatheredLayout;

/// Shards that contradict the step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Shards of another number of ranks.
    #[error("`shards` has {shards} lists and `raw` has {counts} counts; give the shards of every count")]
    WrongNumberOfLists {
        /// Lists of shards.
        shards: usize,
        /// Counts of the request.
        counts: usize,
    },
    /// Ranks with different numbers of shards.
    #[error(
        "rank 0 has {first} shards and rank {rank} has {parts}; every rank is split into as many context-parallel parts, at least one"
    )]
    UnevenParts {
        /// Shards of rank 0.
        first: usize,
        /// Another rank.
        rank: usize,
        /// Its shards.
        parts: usize,
    },
    /// The shards of a rank are more than its rows.
    #[error(
        "the shards of rank {rank} have {rows} rows together and its slot has {slot}; shards are parts of the slot"
    )]
    MoreThanSlot {
        /// The rank, counted from 0.
        rank: usize,
        /// Rows of its shards, up to what 64 bits hold.
        rows: u64,
        /// Rows of its slot.
        slot: u64,
    },
    /// Requests with more tokens than the batch.
    #[error("the requests have {lengths} tokens together and the batch has {tokens}; padding only adds")]
    MoreThanBatch {
        /// Tokens of the requests, up to what 64 bits hold.
        lengths: u64,
        /// Tokens of the batch.
        tokens: u64,
    },
    /// Rows that cannot be reduced and scattered.
    #[error("{rows} rows do not divide among {gpus} GPUs; align every rank to its attention TP size")]
    UnevenRows {
        /// Rows.
        rows: u64,
        /// GPUs.
        gpus: u64,
    },
}

/// The rows of a batch that each context-parallel part of its rank has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shards {
    /// Rows of every part.
    pub rows: Vec<u64>,
    /// Those of them that are real.
    pub real: Vec<u64>,
    /// Rows of every part in memory, equal for all.
    pub physical: u64,
}

impl Shards {
    /// Rows of the local buffer that holds all parts.
    pub fn buffer_rows(&self) -> u64 {
        self.physical * self.rows.len() as u64
    }

    /// Where each part's rows lie after an all-gather of parts padded to the largest, as experts do that share less than all
    /// parts.
    pub fn gathered_equally(&self) -> Vec<Range<u64>> {
        let largest = self.rows.iter().copied().max().unwrap_or(0);
        let place = |(part, rows): (usize, &u64)| part as u64 * largest..part as u64 * largest + rows;
        self.rows.iter().enumerate().map(place).collect()
    }
}

/// The blocks of one request under a zigzag split: twice as many as parts, the first ones longer by a token if need be.
pub fn zigzag_blocks(length: u64, parts: u64) -> impl ExactSizeIterator<Item = u64> + Clone {
    let blocks = 2 * parts.clamp(1, MAX_RANKS);
    (0..blocks as usize).map(move |block| length / blocks + u64::from((block as u64) < length % blocks))
}

impl ContextParallel {
    /// How a prefill batch of `tokens` rows, padded behind requests of these lengths, is split over the parts. `None` where
    /// the split does not apply and every part runs the whole batch.
    ///
    /// ```
    /// use tilewright_dp::plan::ContextParallel;
    ///
    /// let shards = ContextParallel::ZigZag(2).shards(&[9, 8], 17)?.unwrap();
    /// assert_eq!((&shards.rows[..], shards.physical), (&[9, 8][..], 12));
    /// assert_eq!(ContextParallel::ZigZag(2).shards(&[3, 100], 103)?, None);
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// More parts than [`MAX_RANKS`], more tokens than [`MAX_ROWS`], or fewer than the requests have.
    pub fn shards(self, lengths: &[u64], tokens: u64) -> Result<Option<Shards>, PlanError> {
        let parts = self.size();
        check_ranks("cp", parts)?;
        if tokens > MAX_ROWS {
            return Err(PlanError::TooLarge {
                field: "tokens",
                value: tokens,
            });
        }
        let real = lengths.iter().fold(0u64, |sum, &length| sum.saturating_add(length));
        if real > tokens {
            return Err(ShardError::MoreThanBatch { lengths: real, tokens }.into());
        }
        let (rows, real) = match self {
            _ if parts == 1 => return Ok(None),
            Self::Off | Self::Unaligned(_) => return Ok(None),
            Self::ZigZag(_) => {
                let fits = |length: &u64| *length >= 2 * parts;
                let Some((last, others)) = lengths.split_last().filter(|_| lengths.iter().all(fits)) else {
                    return Ok(None);
                };
                let mut rows = vec![0; parts as usize];
                let mut real_rows = vec![0; parts as usize];
                let padded_last = last + (tokens - real);
                let whole = others.iter().map(|&length| (length, length));
                for (length, own) in whole.chain([(padded_last, *last)]) {
                    let mut begin = 0;
                    for (block, size) in zigzag_blocks(length, parts).enumerate() {
                        let part = block.min(2 * parts as usize - 1 - block);
                        rows[part] += size;
                        real_rows[part] += own.clamp(begin, begin + size) - begin;
                        begin += size;
                    }
                }
                (rows, real_rows)
            }
            Self::Interleaved(_) if tokens < parts => return Ok(None),
            Self::Interleaved(_) => {
                let share = |all: u64| (0..parts).map(move |part| (all + parts - 1).saturating_sub(part) / parts);
                (share(tokens).collect(), share(real).collect())
            }
        };
        let largest = rows.iter().copied().max().unwrap_or(0);
        Ok(Some(Shards {
            physical: largest.next_multiple_of(self.alignment()),
            rows,
            real,
        }))
    }
}

/// The rows of the gathered buffer that every part of every rank writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShardPlan {
    /// Of the first rank's parts, then of the next's.
    rows: Vec<Range<u64>>,
    parts: usize,
}

impl ShardPlan {
    /// Places the real rows of each rank's parts one after the other in its slot.
    pub(super) fn new(shards: &[Vec<u64>], layout: &GatheredLayout) -> Result<Self, ShardError> {
        if shards.len() != layout.ranks() {
            return Err(ShardError::WrongNumberOfLists {
                shards: shards.len(),
                counts: layout.ranks(),
            });
        }
        let first = shards[0].len();
        // As long as what was given.
        let mut all = Vec::with_capacity(shards.iter().map(Vec::len).sum());
        for (rank, parts) in shards.iter().enumerate() {
            if parts.len() != first || parts.is_empty() {
                let parts = parts.len();
                return Err(ShardError::UnevenParts { first, rank, parts });
            }
            let rows = parts.iter().fold(0u64, |sum, &rows| sum.saturating_add(rows));
            let slot = layout.padded()[rank];
            if rows > slot {
                return Err(ShardError::MoreThanSlot { rank, rows, slot });
            }
            let mut next = layout.starts()[rank];
            all.extend(parts.iter().map(|rows| {
                let begin = next;
                next += rows;
                begin..next
            }));
        }
        Ok(Self {
            rows: all,
            parts: first,
        })
    }

    /// For every rank, for each of its parts, the rows that it writes. All others stay zero.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[Range<u64>]> {
        // There is a part at least.
        self.rows.chunks(self.parts)
    }

    /// Context-parallel parts of a rank.
    pub fn parts(&self) -> usize {
        self.parts
    }
}

impl serde::Serialize for ShardPlan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows())
    }
}

/// How the ranks of a `MAX` buffer take back their rows (`dp_reduce_scatter_tensor`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Combine {
    /// An all-reduce, of which rank `n` keeps the rows from `n` times this on.
    Narrow(u64),
    /// A reduce-scatter to so many rows a GPU, then all-gathers of the attention TP group and of the parts to so many, where
    /// there are such groups.
    ReduceScatter {
        /// Rows of a GPU.
        rows: u64,
        /// Rows after the all-gather over attention TP.
        attention: Option<u64>,
        /// Rows after the all-gather over context-parallel parts.
        context: Option<u64>,
    },
}

impl Topology {
    /// How ranks of `longest` rows each are combined. With context parallelism alignment does not make the rows divide among
    /// all GPUs, and the fall-back is an all-reduce.
    ///
    /// # Errors
    /// Too many rows, or without context parallelism rows that do not divide.
    pub fn combine(&self, longest: u64) -> Result<Combine, PlanError> {
        let rows = longest.checked_mul(self.dp()).filter(|&rows| rows <= MAX_ROWS);
        let rows = rows.ok_or_else(|| super::mode::too_many_rows(self.dp() as usize))?;
        let (gpus, parts, attention_tp) = (self.tp(), self.context().size(), self.attention_tp());
        if !rows.is_multiple_of(gpus) {
            return match parts {
                1 => Err(ShardError::UnevenRows { rows, gpus }.into()),
                _ => Ok(Combine::Narrow(longest)),
            };
        }
        Ok(Combine::ReduceScatter {
            rows: rows / gpus,
            attention: (attention_tp > 1).then_some(longest / parts),
            context: (parts > 1).then_some(longest),
        })
    }
}
