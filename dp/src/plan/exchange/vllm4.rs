//! vLLM, first runner: four words, and counts that are equal only where a graph or a split was agreed on.

use serde::Serialize;

use super::super::MAX_ROWS;
use super::table::{COUNT, NEUTRAL};
use super::{Column, ExchangeError, Packed, Reduction, Table};

/// How much of a step graphs run; less comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphMode {
    /// None.
    None,
    /// What lies between attention.
    Piecewise,
    /// All.
    Full,
}

impl GraphMode {
    /// Of a word that was checked.
    pub(super) fn of(word: u64) -> Self {
        match word {
            0 => Self::None,
            1 => Self::Piecewise,
            _ => Self::Full,
        }
    }
}

/// What a rank of vLLM's first runner tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vllm4 {
    /// Tokens before any padding.
    pub tokens: u64,
    /// Tokens after the rank's own padding.
    pub padded: u64,
    /// Whether it wants micro-batches.
    pub vote: bool,
    /// The graph that it could run.
    pub mode: GraphMode,
}

impl Vllm4 {
    pub(super) const TOKENS: usize = 0;
}

const TOKENS: usize = Vllm4::TOKENS;
const PADDED: usize = 1;
const VOTE: usize = 2;
const MODE: usize = 3;

impl Packed for Vllm4 {
    const NAME: &'static str = "vllm4";
    const NUMBER: u64 = 0;
    const COLUMNS: &'static [Column] = &[
        Column::new("tokens", Reduction::Smallest, NEUTRAL, COUNT),
        Column::new("padded", Reduction::List, 0, COUNT),
        Column::new("vote", Reduction::Smallest, 1, 1),
        Column::new("mode", Reduction::Smallest, NEUTRAL, GraphMode::Full as u64),
    ];

    fn words(&self) -> Vec<u64> {
        vec![self.tokens, self.padded, self.vote.into(), self.mode as u64]
    }

    fn check(rank: usize, words: &[u64]) -> Result<(), ExchangeError> {
        let (tokens, padded) = (words[TOKENS], words[PADDED]);
        match padded < tokens {
            true => Err(ExchangeError::PaddedBelowTokens { rank, tokens, padded }),
            false => Ok(()),
        }
    }
}

/// What vLLM's first runner concludes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Vllm4Conclusion {
    /// The only graph that ranks may run.
    pub mode: GraphMode,
    /// Whether the step runs in micro-batches.
    pub split: bool,
    /// Rows of every rank.
    pub counts: Vec<u64>,
}

impl Table<Vllm4> {
    /// The smallest mode; a split if all want one and none of its parts is empty on any rank; the largest count
    /// everywhere if there is a graph or a split, else true counts. A single rank keeps what it has and does not split.
    ///
    /// # Errors
    /// A split has fewer than two parts, or too many.
    pub fn conclude(&self, micro_batches: u64) -> Result<Vllm4Conclusion, ExchangeError> {
        if !(2..=MAX_ROWS).contains(&micro_batches) {
            return Err(ExchangeError::MicroBatches { micro_batches });
        }
        let (mode, most) = (GraphMode::of(self.smallest(MODE)), self.largest(PADDED));
        // The worst rank decides: the fewest tokens, in parts of the most rows.
        let last_is_empty = most / micro_batches * (micro_batches - 1) >= self.smallest(TOKENS);
        let alone = self.ranks() == 1;
        let split = !alone && self.all(VOTE) && !last_is_empty;
        let counts = match !alone && (mode != GraphMode::None || split) {
            true => vec![most; self.ranks()],
            false => self.list(PADDED).to_vec(),
        };
        Ok(Vllm4Conclusion { mode, split, counts })
    }
}
