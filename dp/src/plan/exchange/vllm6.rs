//! vLLM, second runner: six words, and an agreement that a draft model can take over.

use serde::Serialize;

use super::table::{COUNT, NEUTRAL, holding};
use super::{Column, ExchangeError, GraphMode, Packed, Reduction, Table};

/// What a rank of vLLM's second runner tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vllm6 {
    /// Tokens.
    pub tokens: u64,
    /// The graph that it wants.
    pub mode: GraphMode,
    /// Tokens of every request, if all have equally many.
    pub uniform: Option<u64>,
    /// The longest query, if it is known.
    pub longest_query: Option<u64>,
    /// Whether micro-batches are allowed.
    pub split_allowed: bool,
    /// Requests.
    pub requests: u64,
}

impl Vllm6 {
    pub(super) const TOKENS: usize = 0;
}

const TOKENS: usize = Vllm6::TOKENS;
const MODE: usize = 1;
const UNIFORM: usize = 2;
const ALLOWED: usize = 4;
const REQUESTS: usize = 5;

impl Packed for Vllm6 {
    const NAME: &'static str = "vllm6";
    const NUMBER: u64 = 1;
    const COLUMNS: &'static [Column] = &[
        Column::new("tokens", Reduction::List, 0, COUNT),
        Column::new("mode", Reduction::Smallest, NEUTRAL, GraphMode::Full as u64),
        Column::new("uniform", Reduction::List, 0, COUNT),
        // Sent as one more than it is, and 0 where it is unknown.
        Column::new("longest_query", Reduction::Largest, 1, COUNT + 1),
        Column::new("split_allowed", Reduction::Smallest, 0, 1),
        Column::new("requests", Reduction::Largest, 0, COUNT),
    ];

    fn words(&self) -> Vec<u64> {
        vec![
            self.tokens,
            self.mode as u64,
            self.uniform.unwrap_or(0),
            self.longest_query.map_or(0, |longest| longest.saturating_add(1)),
            self.split_allowed.into(),
            self.requests,
        ]
    }

    /// A dead rank does not stand in the way of a uniform length.
    fn fill_dead(table: &mut Table<Self>, living: &[bool]) {
        let uniform = table.largest(UNIFORM);
        for (word, _) in table
            .list_mut(UNIFORM)
            .iter_mut()
            .zip(living)
            .filter(|(_, alive)| !**alive)
        {
            *word = uniform;
        }
    }
}

/// The configuration that all ranks conclude with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vllm6Rules {
    /// Tokens of captured graphs.
    pub buckets: Vec<u64>,
    /// Tokens of a request that decodes: 1, or one more than are drafted.
    pub decode_length: u64,
    /// The fewest tokens of a rank for micro-batches, where all decode.
    pub decode_threshold: u64,
    /// The same for other steps.
    pub threshold: u64,
}

impl Default for Vllm6Rules {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            decode_length: 1,
            decode_threshold: 32,
            threshold: 512,
        }
    }
}

/// What vLLM's second runner concludes. It holds nothing of one rank alone, so a draft can [reuse](Self::reuse) it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Vllm6Conclusion {
    /// Rows of every rank.
    pub counts: Vec<u64>,
    /// Tokens of every request of every rank, if all are equal.
    pub uniform: Option<u64>,
    /// The graph that runs; [`GraphMode::None`] is eager.
    pub mode: GraphMode,
    /// Whether the step runs in micro-batches.
    pub split: bool,
    /// Requests that every rank is padded to. In micro-batches and eager steps a rank keeps its own, and this is the most.
    pub requests: u64,
}

impl Table<Vllm6> {
    /// Nothing if no rank has tokens; else micro-batches, true counts, or the graph of the smallest bucket, whichever comes
    /// first.
    ///
    /// # Errors
    /// A bucket is 0 or too large, or there are too many.
    pub fn conclude(&self, rules: &Vllm6Rules) -> Result<Option<Vllm6Conclusion>, ExchangeError> {
        let (tokens, lengths) = (self.list(TOKENS), self.list(UNIFORM));
        let most = self.largest(TOKENS);
        let bucket = holding("buckets", &rules.buckets, most)?;
        if most == 0 {
            return Ok(None);
        }
        let uniform = Some(lengths[0]).filter(|&length| length > 0 && lengths.iter().all(|&other| other == length));
        let threshold = match uniform == Some(rules.decode_length) {
            true => rules.decode_threshold,
            false => rules.threshold,
        };
        let eager = Vllm6Conclusion {
            counts: vec![most; self.ranks()],
            uniform,
            mode: GraphMode::None,
            split: false,
            requests: self.largest(REQUESTS),
        };
        if self.all(ALLOWED) && self.smallest(TOKENS) >= threshold {
            return Ok(Some(Vllm6Conclusion { split: true, ..eager }));
        }
        let mode = GraphMode::of(self.smallest(MODE));
        if mode == GraphMode::None {
            let counts = tokens.to_vec();
            return Ok(Some(Vllm6Conclusion { counts, ..eager }));
        }
        let Some(bucket) = bucket else { return Ok(Some(eager)) };
        // A full graph of requests that are all as long has a fixed number of them.
        let fixed = uniform.filter(|_| mode == GraphMode::Full);
        Ok(Some(Vllm6Conclusion {
            counts: vec![bucket; self.ranks()],
            mode,
            requests: fixed.map_or(eager.requests, |length| bucket.div_ceil(length)),
            ..eager
        }))
    }
}

impl Vllm6Conclusion {
    /// What a draft of the same batch runs with, without another exchange: the same, or its own larger bucket on every
    /// rank. `tokens` are the rows of the draft on `rank`, `uniform` is its length of requests.
    ///
    /// # Errors
    /// The draft has other rows or another length, there is no such rank, or a bucket is 0 or too large.
    pub fn reuse(
        &self,
        rank: usize,
        tokens: u64,
        uniform: Option<u64>,
        buckets: &[u64],
    ) -> Result<Self, ExchangeError> {
        let ranks = self.counts.len();
        let &target = self.counts.get(rank).ok_or(ExchangeError::NoSuchRank { rank, ranks })?;
        let differs = |field, draft, target| ExchangeError::NotReusable { field, draft, target };
        if tokens != target {
            return Err(differs("the number of rows", tokens, target));
        }
        if let (Some(draft), Some(target)) = (uniform, self.uniform)
            && draft != target
        {
            return Err(differs("the length of requests", draft, target));
        }
        let bucket = holding("buckets", buckets, target)?;
        if self.mode == GraphMode::None {
            return Ok(self.clone());
        }
        Ok(match bucket {
            Some(bucket) => Self {
                counts: vec![bucket; ranks],
                ..self.clone()
            },
            None => Self {
                mode: GraphMode::None,
                ..self.clone()
            },
        })
    }
}
