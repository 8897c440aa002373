//! A small simulation of data-parallel ranks that serve a trace.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Request, Trace};

/// How a trace is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayOptions {
    /// The number of data-parallel ranks; 0 counts as 1.
    pub ranks: usize,
    /// The most prompt tokens that one rank prefills in one step; 0 counts as 1.
    pub chunk: u64,
    /// How long a step takes; 0 counts as one nanosecond.
    pub step: Duration,
}

impl Default for ReplayOptions {
    /// Eight ranks, chunks of 4096 tokens (a chunked-prefill size of 32768 divided by the ranks), steps of 30 ms.
    fn default() -> Self {
        Self {
            ranks: 8,
            chunk: 4096,
            step: Duration::from_millis(30),
        }
    }
}

/// One step of all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When the step begins, after the first request of the trace.
    pub begin: Duration,
    /// The tokens each rank computes.
    pub counts: Vec<u64>,
    /// Whether any rank prefills.
    pub extend: bool,
}

impl Trace {
    /// Serves the trace and yields the token counts of every step.
    ///
    /// The simulation keeps what shapes token counts in an engine and nothing else:
    ///
    /// * Requests go to the ranks in turn, in order of arrival, and a rank admits a request at the first step that begins
    ///   when or after it arrives.
    /// * A rank with prompts to prefill prefills them, first come first served, up to `chunk` tokens a step: a long prompt
    ///   takes several steps, and short ones share one. Its running requests wait for that step.
    /// * A rank without prompts decodes: one token for each running request.
    /// * Prefilling a prompt gives the first token of the answer, and each decode step one more.
    /// * Ranks step together; a rank with nothing to do contributes 0 tokens. When all have nothing to do, no step is run
    ///   and time passes until the next arrival.
    ///
    /// ```
    /// # use tilewright_dp::trace::{ReplayOptions, Trace};
    /// # use std::time::Duration;
    /// let csv = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
    ///            2023-11-16 18:15:46,5,3\n\
    ///            2023-11-16 18:15:46,2,2\n";
    /// let trace = Trace::parse(csv.as_bytes(), "example.csv")?;
    /// let options = ReplayOptions { ranks: 2, chunk: 4, step: Duration::from_millis(30) };
    /// let counts: Vec<_> = trace.replay(options).map(|step| step.counts).collect();
    /// assert_eq!(counts, [[4, 2], [1, 1], [1, 0], [1, 0]]);
    /// # Ok::<(), tilewright_dp::trace::TraceError>(())
    /// ```
    pub fn replay(&self, options: ReplayOptions) -> Replay<'_> {
        Replay {
            requests: &self.requests,
            next: 0,
            ranks: vec![Rank::default(); options.ranks.max(1)],
            chunk: options.chunk.max(1),
            step: options.step.max(Duration::from_nanos(1)),
            now: Duration::ZERO,
        }
    }
}

/// The steps of a trace being served; see [`Trace::replay`].
#[derive(Debug, Clone)]
pub struct Replay<'a> {
    requests: &'a [Request],
    /// The next request to arrive.
    next: usize,
    ranks: Vec<Rank>,
    chunk: u64,
    step: Duration,
    now: Duration,
}

impl Iterator for Replay<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if self.ranks.iter().all(Rank::is_idle) {
                self.now = self.now.max(self.requests.get(self.next)?.arrival);
            }
            while let Some(request) = self
                .requests
                .get(self.next)
                .filter(|request| request.arrival <= self.now)
            {
                let rank = self.next % self.ranks.len();
                self.ranks[rank].admit(request);
                self.next += 1;
            }
            let begin = self.now;
            self.now = self.now.saturating_add(self.step);
            let extend = self.ranks.iter().any(|rank| !rank.prefills.is_empty());
            let counts: Vec<u64> = self.ranks.iter_mut().map(|rank| rank.step(self.chunk)).collect();
            // Requests without any token to compute make no step.
            if counts.iter().any(|&count| count > 0) {
                return Some(Step { begin, counts, extend });
            }
        }
    }
}

/// What one rank has to do.
#[derive(Debug, Clone, Default)]
struct Rank {
    prefills: VecDeque<Prefill>,
    /// For every running request, the tokens still to decode: at least one.
    decodes: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Prefill {
    context: u64,
    generated: u64,
}

impl Rank {
    fn is_idle(&self) -> bool {
        self.prefills.is_empty() && self.decodes.is_empty()
    }

    fn admit(&mut self, request: &Request) {
        match (request.context_tokens, request.generated_tokens) {
            (0, 0) => {}
            (0, generated) => self.decodes.push(generated),
            (context, generated) => self.prefills.push_back(Prefill { context, generated }),
        }
    }

    /// Runs one step and returns the tokens it computes.
    fn step(&mut self, chunk: u64) -> u64 {
        if self.prefills.is_empty() {
            let count = self.decodes.len() as u64;
            self.decodes.retain_mut(|left| {
                *left -= 1;
                *left > 0
            });
            return count;
        }
        let mut room = chunk;
        while room > 0 {
            let Some(first) = self.prefills.front_mut() else { break };
            let tokens = first.context.min(room);
            first.context -= tokens;
            room -= tokens;
            if first.context == 0 {
                let left = first.generated.saturating_sub(1);
                self.prefills.pop_front();
                if left > 0 {
                    self.decodes.push(left);
                }
            }
        }
        chunk - room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trace(requests: &[(u64, u64, u64)]) -> Trace {
        let request = |&(milliseconds, context_tokens, generated_tokens): &(u64, u64, u64)| Request {
            arrival: Duration::from_millis(milliseconds),
            context_tokens,
            generated_tokens,
        };
        Trace {
            requests: requests.iter().map(request).collect(),
        }
    }

    fn counts(requests: &[(u64, u64, u64)], ranks: usize, chunk: u64) -> Vec<Vec<u64>> {
        let options = ReplayOptions {
            ranks,
            chunk,
            step: Duration::from_millis(10),
        };
        trace(requests).replay(options).map(|step| step.counts).collect()
    }

    #[test]
    fn a_prompt_is_prefilled_in_chunks_and_then_decoded() {
        assert_eq!(counts(&[(0, 10, 3)], 1, 4), [[4], [4], [2], [1], [1]]);
        assert_eq!(counts(&[(0, 10, 1)], 1, 16), [[10]]);
        assert_eq!(counts(&[(0, 10, 0)], 1, 16), [[10]]);
    }

    #[test]
    fn short_prompts_share_a_step_and_decodes_wait() {
        assert_eq!(
            counts(&[(0, 3, 3), (0, 2, 2), (10, 4, 1)], 1, 4),
            [[4], [4], [1], [2], [1]]
        );
    }

    #[test]
    fn ranks_take_requests_in_turn_and_idle_ranks_have_no_tokens() {
        assert_eq!(
            counts(&[(0, 3, 2), (0, 2, 1), (10, 5, 1)], 2, 8),
            [[3, 2], [5, 0], [1, 0]]
        );
    }

    #[test]
    fn silence_is_skipped() {
        let trace = trace(&[(0, 1, 1), (95_000, 1, 1)]);
        let steps: Vec<_> = trace.replay(ReplayOptions::default()).collect();
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1].begin, Duration::from_secs(95));
        assert!(steps[1].extend);
    }

    #[test]
    fn requests_without_tokens_make_no_step() {
        assert_eq!(counts(&[(0, 0, 0), (50, 0, 2)], 1, 4), [[1], [1]]);
        assert!(counts(&[(0, 0, 0)], 1, 4).is_empty());
    }

    proptest! {
        #[test]
        fn every_token_is_computed_once(
            mut requests in prop::collection::vec((0u64..300, 0u64..50, 0u64..9), 1..40),
            ranks in 1usize..5,
            chunk in 1u64..64,
        ) {
            requests.sort();
            // The first token of an answer comes with its prompt.
            let tokens = |&(_, context, generated): &(u64, u64, u64)| {
                context + if context > 0 { generated.saturating_sub(1) } else { generated }
            };
            let expected: u64 = requests.iter().map(tokens).sum();
            let computed: u64 = counts(&requests, ranks, chunk).iter().flatten().sum();
            prop_assert_eq!(computed, expected);
        }
    }
}
