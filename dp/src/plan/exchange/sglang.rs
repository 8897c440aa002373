//! SGLang from November 2026 on: eight words, counts as they are, and votes.

use serde::Serialize;

use super::table::COUNT;
use super::{Column, ExchangeError, Packed, Reduction, Table};

/// What a scheduler is about to run, with the numbers of SGLang's `ForwardMode`
/// (sgl-project/sglang, python/sglang/srt/model_executor/forward_batch_info.py, of November 2026).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchedulerMode {
    /// Prompts.
    Extend = 1,
    /// One token of every request.
    Decode,
    /// Both.
    Mixed,
    /// Nothing.
    Idle,
    /// The check of drafted tokens.
    TargetVerify,
    /// The draft model, over what was accepted (`DRAFT_EXTEND_V2`).
    DraftExtend,
    /// Requests whose prompts another process has run.
    Prebuilt,
    /// Prompts, some layers at a time, beside another process's decode.
    SplitPrefill,
    /// Blocks of a diffusion language model.
    DiffusionExtend,
}

/// What a rank of SGLang tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sglang8 {
    /// Tokens.
    pub tokens: u64,
    /// Rows of the logits stage.
    pub logprob: u64,
    /// Whether it could run a decode graph.
    pub decode_graph: bool,
    /// Whether it prefills.
    pub extend: bool,
    /// Whether it could run in two batches.
    pub two_batches: bool,
    /// What it is about to run.
    pub mode: SchedulerMode,
    /// Whether it could run a prefill graph.
    pub prefill_graph: bool,
    /// The longest prefix for a full prefill graph, else 0.
    pub longest_prefix: u64,
}

impl Sglang8 {
    pub(super) const TOKENS: usize = 0;
}

const TOKENS: usize = Sglang8::TOKENS;
const DECODE_GRAPH: usize = 2;
const EXTEND: usize = 3;
const TWO_BATCHES: usize = 4;
const MODE: usize = 5;
const PREFILL_GRAPH: usize = 6;
const LONGEST_PREFIX: usize = 7;
const WITHOUT_WORK: [u64; 2] = [SchedulerMode::Idle as u64, SchedulerMode::Prebuilt as u64];

impl Packed for Sglang8 {
    const NAME: &'static str = "sglang8";
    const NUMBER: u64 = 2;
    const COLUMNS: &'static [Column] = &[
        Column::new("num_tokens", Reduction::List, 0, COUNT),
        Column::new("num_tokens_for_logprob", Reduction::List, 0, COUNT),
        Column::new("can_run_decode_cuda_graph", Reduction::Smallest, 1, 1),
        Column::new("is_extend_in_batch", Reduction::Largest, 0, 1),
        Column::new("local_can_run_tbo", Reduction::Smallest, 1, 1),
        Column::new(
            "local_forward_mode",
            Reduction::List,
            SchedulerMode::Idle as u64,
            SchedulerMode::DiffusionExtend as u64,
        ),
        // One rank that is gone switches prefill graphs off everywhere.
        Column::new("can_run_prefill_cuda_graph", Reduction::Smallest, 0, 1),
        Column::new("prefill_cuda_graph_max_prefix_len", Reduction::Largest, 0, COUNT),
    ];

    fn words(&self) -> Vec<u64> {
        vec![
            self.tokens,
            self.logprob,
            self.decode_graph.into(),
            self.extend.into(),
            self.two_batches.into(),
            self.mode as u64,
            self.prefill_graph.into(),
            self.longest_prefix,
        ]
    }

    fn check(rank: usize, words: &[u64]) -> Result<(), ExchangeError> {
        let (tokens, mode) = (words[TOKENS], words[MODE]);
        match mode {
            0 => Err(ExchangeError::Unknown {
                column: "local_forward_mode",
                rank,
                value: mode,
            }),
            _ if WITHOUT_WORK.contains(&mode) && tokens > 0 => Err(ExchangeError::IdleWithTokens { rank, tokens }),
            _ => Ok(()),
        }
    }
}

/// What SGLang concludes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Sglang8Conclusion {
    /// Tokens of every rank.
    pub counts: Vec<u64>,
    /// Rows of every rank at the logits stage.
    pub logprob: Vec<u64>,
    /// Whether any rank has tokens; else there is no forward, and no idle batch.
    pub runs: bool,
    /// Whether all voted for a decode graph.
    pub decode_graph: bool,
    /// Whether any rank prefills.
    pub extend: bool,
    /// Whether the step runs in two batches.
    pub two_batches: bool,
    /// Whether all voted for a prefill graph.
    pub prefill_vote: bool,
    /// Whether a prefill graph may run: all voted for it, one prefills, and none is without tokens.
    pub prefill_graph: bool,
    /// Whether ranks that decode run as extends of one token.
    pub decode_becomes_extend: bool,
    /// The longest prefix of all.
    pub longest_prefix: u64,
}

impl Table<Sglang8> {
    /// Reads the slots of an elastic world, summed over its processes; a slot of zeros is nobody's.
    ///
    /// # Errors
    /// There is not one slot for each expert-parallel rank, there are more than processes, or as for
    /// [`decode`](Self::decode).
    pub fn of_slots(slots: &[Vec<u64>], ep: usize, world: usize) -> Result<Self, ExchangeError> {
        if slots.len() != ep || ep > world {
            let slots = slots.len();
            return Err(ExchangeError::Slots { slots, ep, world });
        }
        let nobody = |(_, words): &(usize, &Vec<u64>)| words.iter().all(|&word| word == 0);
        let dead: Vec<_> = slots.iter().enumerate().filter(nobody).map(|(slot, _)| slot).collect();
        Self::decode(slots, &dead)
    }

    /// Counts as they are, and the votes.
    pub fn conclude(&self) -> Sglang8Conclusion {
        let idle = self.smallest(TOKENS) == 0;
        let mut working = self.list(MODE).iter().filter(|mode| !WITHOUT_WORK.contains(mode));
        let first = working.next();
        let one_mode = first.is_some() && working.all(|mode| Some(mode) == first);
        let (extend, prefill_vote) = (self.largest(EXTEND) == 1, self.all(PREFILL_GRAPH));
        Sglang8Conclusion {
            counts: self.list(TOKENS).to_vec(),
            logprob: self.list(TOKENS + 1).to_vec(),
            runs: self.largest(TOKENS) > 0,
            decode_graph: self.all(DECODE_GRAPH),
            extend,
            two_batches: self.all(TWO_BATCHES) && one_mode,
            prefill_vote,
            prefill_graph: prefill_vote && extend && !idle,
            decode_becomes_extend: prefill_vote && extend && !(self.ranks() > 1 && idle),
            longest_prefix: self.largest(LONGEST_PREFIX),
        }
    }
}
