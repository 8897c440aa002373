//! When prompts are held back, so that all ranks prefill together (TensorRT-LLM: `_balance_adp_requests`).

use serde::{Deserialize, Serialize};

use super::PlanError;
use super::topology::check_ranks;

/// How long prompts are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HoldLimits {
    /// Steps that prompts wait for those of other ranks; 50 by default.
    pub timeout_iters: u64,
    /// Steps that prompts of all ranks wait for more of them while requests decode; 10 by default.
    pub batching_wait_iters: u64,
    /// Requests with which a rank is full; 256 by default.
    pub max_batch: u64,
    /// A rank that decodes fewer requests is starved, and [`low_limit`](Self::low_limit) holds; 0, never, by default. At
    /// most [`max_batch`](Self::max_batch).
    pub threshold: u64,
    /// [`timeout_iters`](Self::timeout_iters) while a rank is starved, at most that; 0 by default.
    pub low_limit: u64,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self {
            timeout_iters: 50,
            batching_wait_iters: 10,
            max_batch: 256,
            threshold: 0,
            low_limit: 0,
        }
    }
}

/// Limits or counts that contradict one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// A threshold over the batch.
    #[error("`threshold` is {threshold} and `max_batch` is {max_batch}; no rank decodes more than its batch holds")]
    Threshold {
        /// The threshold.
        threshold: u64,
        /// The largest batch.
        max_batch: u64,
    },
    /// A shorter wait that is longer.
    #[error(
        "`low_limit` is {low_limit} and `timeout_iters` is {timeout_iters}; a starved rank waits no longer than others"
    )]
    LowLimit {
        /// The limit of starved ranks.
        low_limit: u64,
        /// The limit of others.
        timeout_iters: u64,
    },
    /// Lists of unlike length.
    #[error(
        "there are {context} counts of prompts, {generation} of requests that decode and {real} of those that are real; give one of each per rank"
    )]
    UnlikeLists {
        /// Counts of prompts.
        context: usize,
        /// Counts of requests that decode.
        generation: usize,
        /// Counts of those that are no dummies.
        real: usize,
    },
}

/// Whether prompts run in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldDecision {
    /// No rank prefills.
    Hold,
    /// Ranks prefill what they have.
    Release,
}

/// What is known from earlier steps, the same on every rank.
///
/// ```
/// use tilewright_dp::plan::{Hold, HoldDecision::{Hold as Held, Release}, HoldLimits};
///
/// let mut hold = Hold::new(HoldLimits { timeout_iters: 3, ..HoldLimits::default() })?;
/// // One rank has a prompt and the other none.
/// let decisions = [(); 3].map(|()| hold.decide(&[1, 0], &[4, 4], &[4, 4]).unwrap());
/// assert_eq!(decisions, [Held, Held, Release]);
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hold {
    limits: HoldLimits,
    wait: u64,
    batching: u64,
}

impl Hold {
    /// Nothing was held yet.
    ///
    /// # Errors
    /// The limits contradict one another, or ranks of no request are full.
    pub fn new(limits: HoldLimits) -> Result<Self, PlanError> {
        if limits.max_batch == 0 {
            return Err(PlanError::Zero { field: "max_batch" });
        }
        if limits.threshold > limits.max_batch {
            return Err(HoldError::Threshold {
                threshold: limits.threshold,
                max_batch: limits.max_batch,
            }
            .into());
        }
        if limits.low_limit > limits.timeout_iters {
            return Err(HoldError::LowLimit {
                low_limit: limits.low_limit,
                timeout_iters: limits.timeout_iters,
            }
            .into());
        }
        Ok(Self {
            limits,
            wait: 0,
            batching: 0,
        })
    }

    /// Steps waited for prompts of other ranks.
    pub fn waited(&self) -> u64 {
        self.wait
    }

    /// Steps waited for more prompts.
    pub fn batched(&self) -> u64 {
        self.batching
    }

    /// Decides a step from what every rank told: its prompts, its requests that decode, and those of them that are no
    /// dummies.
    ///
    /// # Errors
    /// The lists are empty or of unlike length.
    pub fn decide(&mut self, context: &[u64], generation: &[u64], real: &[u64]) -> Result<HoldDecision, PlanError> {
        check_ranks("context", context.len() as u64)?;
        if context.len() != generation.len() || context.len() != real.len() {
            return Err(HoldError::UnlikeLists {
                context: context.len(),
                generation: generation.len(),
                real: real.len(),
            }
            .into());
        }
        let limits = self.limits;
        let has_room = generation.iter().all(|&requests| requests < limits.max_batch);
        let all_prompts = context.iter().all(|&prompts| prompts > 0);
        let all_decode = generation.iter().all(|&requests| requests > 0);
        if has_room && all_prompts {
            self.wait = 0;
            if all_decode && self.batching < limits.batching_wait_iters {
                self.batching += 1;
                return Ok(HoldDecision::Hold);
            }
            if all_decode {
                self.batching = 0;
            }
            return Ok(HoldDecision::Release);
        }
        let starved = real.iter().any(|&requests| requests < limits.threshold);
        let limit = if starved {
            limits.low_limit
        } else {
            limits.timeout_iters
        };
        self.wait += 1;
        if self.wait >= limit || !all_decode {
            self.wait = 0;
            return Ok(HoldDecision::Release);
        }
        Ok(HoldDecision::Hold)
    }
}
