//! The logits stage: the rows that the LM head sees.
//!
//! Where the LM head is sharded over all GPUs, the hidden states that need logits are gathered once more: as many as there
//! are logprob counts, never aligned, since nothing is reduce-scattered there.

use super::{Execution, MAX_ROWS, PlanError, Profile, Request};
use crate::layout::{GatheredLayout, HiddenState, PaddingMode};

/// Where the rows of the logits stage lie, and what is allocated for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogitsStage {
    layout: GatheredLayout,
    buffer_rows: u64,
    buffers: u64,
}

impl LogitsStage {
    pub(super) fn new(
        request: &Request,
        execution: &Execution,
        gathered: &GatheredLayout,
        hidden: HiddenState,
    ) -> Result<Self, PlanError> {
        let counts = request.logprob()?;
        let ranks = counts.len();
        let too_many = || PlanError::TooManyRows {
            buffer: "logits stage",
            ranks,
        };
        let layout = match (request.bound, execution) {
            (Some(bound), _) => bound.layout(&counts, request.dp, hidden)?,
            // A replay fills the counts of equal ranks with what was captured.
            (None, Execution::Graph(graph)) if request.profile >= Profile::Pr8280 => {
                let captured = graph.bucket * request.logprob_width();
                let slot = counts.iter().copied().max().unwrap_or(0).max(captured);
                let rows = slot.checked_mul(ranks as u64).filter(|&rows| rows <= MAX_ROWS);
                GatheredLayout::fixed_of(PaddingMode::Max, counts, rows.ok_or_else(too_many)?, hidden)?
            }
            _ => GatheredLayout::of(PaddingMode::Sum, counts, 1, hidden)?,
        };
        let shares_gathered = match execution {
            Execution::Graph(_) => true,
            Execution::Eager(_) => request.profile == Profile::Pr8280,
        };
        // An engine that takes the gathered buffer's size overruns it when there are more logits; a plan never does.
        let buffer_rows = match shares_gathered {
            true => gathered.rows().max(layout.rows()),
            false => layout.rows(),
        };
        if buffer_rows > MAX_ROWS {
            return Err(too_many());
        }
        let twice = matches!(execution, Execution::Eager(_)) && request.profile < Profile::Pr8280;
        Ok(Self {
            layout,
            buffer_rows,
            buffers: if twice { 2 } else { 1 },
        })
    }

    /// Rows of every rank that need logits.
    pub fn counts(&self) -> &[u64] {
        self.layout.counts()
    }

    /// The row at which each rank starts: packed in an eager forward, in equal slots under a graph of pull request 8280 or
    /// later.
    pub fn starts(&self) -> &[u64] {
        self.layout.starts()
    }

    /// The rows that each rank is given.
    pub(super) fn padded(&self) -> &[u64] {
        self.layout.padded()
    }

    /// Whether ranks gather their rows: more than one does, unless the engine gives every rank an LM head of its own
    /// (`enable_dp_lm_head`), which a request does not say.
    pub fn is_gathered(&self) -> bool {
        self.layout.ranks() > 1
    }

    /// Rows of each buffer. Pull request 8280 takes those of the gathered buffer instead of what it needs, until 8343; so
    /// does every graph.
    pub fn buffer_rows(&self) -> u64 {
        self.buffer_rows
    }

    /// How many buffers of that size there are: two up to pull request 8277, one of them used for its shape only.
    pub fn buffers(&self) -> u64 {
        self.buffers
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        // Rows and the bytes of one are at most MAX_ROWS, so twice their product fits.
        self.buffer_rows * self.layout.row_bytes() * self.buffers
    }
}

/// A prompt of a batch that prefills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prompt {
    /// Tokens that this step computes.
    pub tokens: u64,
    /// The first of them whose logprob is asked for; [`tokens`](Self::tokens) if none is.
    pub logprob_start: u64,
}

/// Rows that a prefilling rank brings to the logits stage. Every prompt has at least its last token there.
///
/// Up to pull request 9136 the rows follow from where logprobs start, which counts too many for a request that is
/// prefilled again with its answer so far. From 12115 on they do so only if the batch `returns_logprob`; otherwise there is
/// one row per prompt, because the stage keeps no other.
///
/// ```
/// use tilewright_dp::plan::{Profile, Prompt, logprob_rows};
///
/// let prompts = [Prompt { tokens: 100, logprob_start: 100 }, Prompt { tokens: 50, logprob_start: 40 }];
/// assert_eq!(logprob_rows(Profile::Pr9136, &prompts, false), 11);
/// assert_eq!(logprob_rows(Profile::Pr10414, &prompts, false), 2);
/// assert_eq!(logprob_rows(Profile::Pr10414, &prompts, true), 11);
/// ```
pub fn logprob_rows(profile: Profile, prompts: &[Prompt], returns_logprob: bool) -> u64 {
    if profile >= Profile::Pr10414 && !returns_logprob {
        return prompts.len() as u64;
    }
    let rows = |prompt: &Prompt| prompt.tokens.saturating_sub(prompt.logprob_start).max(1);
    prompts.iter().map(rows).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;

    fn logits(request: &Request) -> LogitsStage {
        Plan::new(request).unwrap().logits().clone()
    }

    #[test]
    fn eighty_requests_of_draft_extend_need_fewer_rows_in_each_version() {
        // Three steps are four tokens per request; before 8277 each had a row.
        let stage = |profile, coef_lp| {
            let stage = logits(&Request {
                profile,
                coef: 4,
                coef_lp: Some(coef_lp),
                ..Request::new(vec![20; 4], 4)
            });
            (stage.buffer_rows(), stage.buffers(), stage.bytes())
        };
        assert_eq!(stage(Profile::Base8277, 4), (320, 2, 640 * 14336));
        assert_eq!(stage(Profile::Pr8277, 1), (80, 2, 160 * 14336));
        // The gathered buffer's rows, until 8343 took the stage's own.
        assert_eq!(stage(Profile::Pr8280, 1), (320, 1, 320 * 14336));
        assert_eq!(stage(Profile::Pr9136, 1), (80, 1, 80 * 14336));
    }

    #[test]
    fn rows_are_packed_and_never_aligned() {
        for profile in Profile::ALL {
            let stage = logits(&Request {
                profile,
                attn_tp: 8,
                extend: true,
                raw_lp: Some(vec![2, 3, 0, 10]),
                ..Request::new(vec![150, 3, 0, 10], 4)
            });
            assert_eq!(stage.counts(), [2, 3, 0, 10]);
            assert_eq!(stage.starts(), [0, 2, 5, 5]);
            assert!(stage.is_gathered());
            if profile != Profile::Pr8280 {
                assert_eq!(stage.bytes() / stage.buffers(), 215_040);
            }
        }
    }

    #[test]
    fn more_logits_than_tokens_have_a_buffer_that_holds_them() {
        for profile in Profile::ALL {
            let stage = logits(&Request {
                profile,
                extend: true,
                raw_lp: Some(vec![661, 450]),
                ..Request::new(vec![3, 450], 2)
            });
            assert_eq!(stage.buffer_rows(), 1111);
        }
    }

    #[test]
    fn a_graph_of_equal_ranks_has_equal_slots_of_logits() {
        let request = |profile| Request {
            profile,
            coef: 4,
            coef_lp: Some(1),
            graph_ok: true,
            graph_buckets: Some(vec![8]),
            ..Request::new(vec![3, 0, 5], 3)
        };
        let sum = logits(&request(Profile::Pr8277));
        assert_eq!((sum.starts(), sum.buffer_rows()), (&[0, 3, 3][..], 32));
        let max = logits(&request(Profile::Main202609));
        assert_eq!((max.starts(), max.buffer_rows()), (&[0, 8, 16][..], 96));
        assert_eq!(max.buffers(), 1);
    }

    #[test]
    fn a_single_rank_gathers_no_logits() {
        assert!(!logits(&Request::new(vec![5], 1)).is_gathered());
        assert!(!logits(&Request::new(vec![5], 4)).is_gathered());
    }

    #[test]
    fn a_prompt_has_at_least_its_last_row() {
        let prompt = |tokens, logprob_start| Prompt { tokens, logprob_start };
        for profile in Profile::ALL {
            assert_eq!(
                logprob_rows(profile, &[prompt(100, 99), prompt(50, 50), prompt(0, 7)], false),
                3
            );
            assert_eq!(logprob_rows(profile, &[prompt(10, 0)], true), 10);
            assert_eq!(logprob_rows(profile, &[], true), 0);
        }
    }
}
