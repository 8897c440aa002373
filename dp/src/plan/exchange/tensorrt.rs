//! TensorRT-LLM: what its four small all-gathers tell, as one vector.

use serde::Serialize;

use super::table::{COUNT, holding};
use super::{Column, ExchangeError, Packed, Reduction, Table};

/// What a rank of TensorRT-LLM tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorRt {
    /// Requests that it serves.
    pub active_requests: u64,
    /// Their tokens.
    pub active_tokens: u64,
    /// Requests of this step, dummies too.
    pub batch: u64,
    /// Whether it could run a decode graph.
    pub decode_graph: bool,
    /// Tokens of this step.
    pub tokens: u64,
    /// Requests of this step whose prompts run.
    pub context_requests: u64,
    /// Whether it could run a prefill graph.
    pub prefill_graph: bool,
}

impl TensorRt {
    pub(super) const BATCH: usize = 2;
    pub(super) const TOKENS: usize = 4;
}

const BATCH: usize = TensorRt::BATCH;
const DECODE_GRAPH: usize = 3;
const TOKENS: usize = TensorRt::TOKENS;
const CONTEXT: usize = 5;
const PREFILL_GRAPH: usize = 6;

impl Packed for TensorRt {
    const NAME: &'static str = "trt";
    const NUMBER: u64 = 3;
    const COLUMNS: &'static [Column] = &[
        Column::new("active_requests", Reduction::List, 0, COUNT),
        Column::new("active_tokens", Reduction::List, 0, COUNT),
        Column::new("batch", Reduction::List, 0, COUNT),
        Column::new("decode_graph", Reduction::Smallest, 0, 1),
        Column::new("tokens", Reduction::List, 0, COUNT),
        Column::new("context_requests", Reduction::Largest, 0, COUNT),
        Column::new("prefill_graph", Reduction::Smallest, 0, 1),
    ];

    fn words(&self) -> Vec<u64> {
        vec![
            self.active_requests,
            self.active_tokens,
            self.batch,
            self.decode_graph.into(),
            self.tokens,
            self.context_requests,
            self.prefill_graph.into(),
        ]
    }
}

/// Sizes for which graphs were captured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Captured {
    /// Batch sizes of decode graphs.
    pub decode: Vec<u64>,
    /// Tokens of prefill graphs.
    pub prefill: Vec<u64>,
    /// Whether batches are not padded to the sizes of decode graphs, which then serve equal batches alone.
    pub exact: bool,
}

/// What TensorRT-LLM concludes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct TensorRtConclusion {
    /// Whether there is a forward: every rank has a request.
    pub runs: bool,
    /// The batch size of the decode graph that runs.
    pub graph: Option<u64>,
    /// The tokens of the prefill graph that runs.
    pub prefill_graph: Option<u64>,
    /// Tokens of every rank, padded to the prefill graph's.
    pub counts: Vec<u64>,
}

impl Table<TensorRt> {
    /// Whether there is a forward, and its graph. A decode graph takes equal batches, after padding; a prefill graph takes
    /// the longest rank, if any runs prompts.
    ///
    /// # Errors
    /// A captured size is 0 or too large, or there are too many.
    pub fn conclude(&self, captured: &Captured) -> Result<TensorRtConclusion, ExchangeError> {
        let (batch, tokens) = (self.largest(BATCH), self.largest(TOKENS));
        let decode = holding("decode", &captured.decode, batch)?;
        let prefill = holding("prefill", &captured.prefill, tokens)?;
        let runs = self.smallest(BATCH) > 0;
        let context = self.largest(CONTEXT) > 0;
        let equal = !captured.exact || (self.smallest(BATCH) == batch && decode == Some(batch));
        let graph = decode.filter(|_| runs && !context && self.all(DECODE_GRAPH) && equal);
        let prefill_graph = prefill.filter(|_| runs && context && self.all(PREFILL_GRAPH));
        Ok(TensorRtConclusion {
            runs,
            graph,
            prefill_graph,
            counts: match prefill_graph {
                Some(tokens) => vec![tokens; self.ranks()],
                None => self.list(TOKENS).to_vec(),
            },
        })
    }
}

/// A request that no rank serves yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NewRequest {
    /// Its tokens.
    pub tokens: u64,
    /// The rank that has to serve it, if it is fixed.
    pub rank: Option<usize>,
}

/// The rank of each new request, or none while the rank that has to serve it is full: fixed ones first, then the longest to
/// the rank with the fewest tokens. No rank serves more than its share, which is at most `cap`.
///
/// # Errors
/// A fixed rank does not exist, or there are more requests than all ranks take.
pub fn route(table: &Table<TensorRt>, new: &[NewRequest], cap: u64) -> Result<Vec<Option<usize>>, ExchangeError> {
    let ranks = table.ranks();
    let (mut requests, mut tokens) = (table.list(0).to_vec(), table.list(1).to_vec());
    let total = requests.iter().sum::<u64>() + new.len() as u64;
    let room: u64 = requests.iter().map(|&active| cap.saturating_sub(active)).sum();
    if new.len() as u64 > room {
        let requests = new.len();
        return Err(ExchangeError::NoRoom { requests, ranks, cap });
    }
    let expected = total
        .div_ceil(ranks as u64)
        .max(requests.iter().copied().max().unwrap_or(0))
        .min(cap);
    let mut routed = vec![None; new.len()];
    for (index, request) in new.iter().enumerate() {
        let Some(rank) = request.rank else { continue };
        let active = requests
            .get_mut(rank)
            .ok_or(ExchangeError::NoSuchRank { rank, ranks })?;
        if *active < cap {
            *active += 1;
            tokens[rank] = tokens[rank].saturating_add(request.tokens);
            routed[index] = Some(rank);
        }
    }
    let mut free: Vec<_> = (0..new.len()).filter(|&index| new[index].rank.is_none()).collect();
    free.sort_by_key(|&index| std::cmp::Reverse(new[index].tokens));
    for index in free {
        let below = (0..ranks).filter(|&rank| requests[rank] < expected);
        let Some(rank) = below.min_by_key(|&rank| (tokens[rank], requests[rank])) else {
            break;
        };
        requests[rank] += 1;
        tokens[rank] = tokens[rank].saturating_add(new[index].tokens);
        routed[index] = Some(rank);
    }
    Ok(routed)
}
