//! Data-parallel ranks serving a request trace, step by step.
//!
//! A [`Simulation`] keeps what shapes the counts of an engine's steps and nothing else:
//!
//! * Requests go to the ranks in turn, in order of arrival, and a rank admits a request at the first step that begins when
//!   or after it arrives (continuous batching).
//! * A rank with prompts to prefill prefills them, first come first served, up to [`Options::chunk`] tokens a step: a long
//!   prompt takes several steps, and short ones share one. Its running requests wait for that step.
//! * A rank without prompts decodes: one token for each running request. Prefilling a prompt gives the first token of the
//!   answer.
//! * With [speculative decoding](Drafting) prefill and decode share no step: while any rank prefills, those without
//!   prompts are idle. A decode step is several forwards: drafts, a verification, and a draft-extend over what was
//!   accepted. [Mixed steps](Options::mixed) have prefills in them: in its drafts ranks with prompts are idle, in the
//!   others they prefill.
//! * With a [bound](Options::bound) ranks exchange nothing. None runs more rows than that in a forward, prompts wait
//!   until their requests can all decode at once, and with drafts every step has the same forwards.
//! * Ranks step together; a rank with nothing to do contributes 0 tokens. When all have nothing to do, no step is run and
//!   time passes until the next arrival.
//!
//! * With [limits](Options::hold) on how long prompts wait, ranks hold theirs back, and decode, until all have some.
//!
//! A [`Summary`] plans every forward by the rules of one engine version and adds up what it needs.

mod error;
mod rank;
mod summary;

pub use error::SimulationError;
pub use summary::{Serving, Summary, TraceComparison};

use std::time::Duration;

use crate::plan::{
    BoundError, ForwardMode, Hold, HoldDecision, HoldLimits, PlanError, RankStep, Speculation, check_ranks, check_size,
};
use crate::trace::{Request, Trace};
use rank::Rank;

/// The most steps that a [`Summary`] is made of. It keeps two numbers for each, and at 30 ms a step they are 34 hours.
pub const MAX_STEPS: u64 = 1 << 22;

/// The most work of a [`Summary`]: of every forward, its ranks, its running requests and the captured sizes to choose from.
/// This is what keeps a trace from being served for hours.
pub const MAX_WORK: u64 = 1 << 28;

/// How a trace is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The number of data-parallel ranks, from 1 to [`MAX_RANKS`](crate::plan::MAX_RANKS).
    pub ranks: usize,
    /// The most prompt tokens that one rank prefills in one step, from 1 to
    /// [`MAX_ROWS`](crate::plan::MAX_ROWS).
    pub chunk: u64,
    /// How long a step takes, not 0.
    pub step: Duration,
    /// How requests draft, if they do.
    pub drafting: Option<Drafting>,
    /// How long prompts wait for those of other ranks, if they do.
    pub hold: Option<HoldLimits>,
    /// Whether ranks that prefill and ranks that decode speculatively share steps. Versions before `main-2026-11`
    /// cannot.
    pub mixed: bool,
    /// The most rows of a rank in a forward, if ranks exchange nothing; they then share steps, too.
    pub bound: Option<u64>,
}

impl Default for Options {
    /// Eight ranks, chunks of 4096 tokens (a chunked-prefill size of 32768 divided by the ranks), steps of 30 ms, no drafts.
    fn default() -> Self {
        Self {
            ranks: 8,
            chunk: 4096,
            step: Duration::from_millis(30),
            drafting: None,
            hold: None,
            mixed: false,
            bound: None,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), SimulationError> {
        check_ranks("ranks", self.ranks as u64)?;
        check_size("chunk", self.chunk)?;
        if self.step.is_zero() {
            return Err(PlanError::Zero { field: "step" }.into());
        }
        if let Some(bound) = self.bound {
            check_size("bound.rows", bound)?;
            if self.hold.is_some() {
                return Err(PlanError::from(BoundError::Agreed { field: "hold" }).into());
            }
            let rows = self.widest();
            if rows > bound {
                return Err(PlanError::from(BoundError::OneRequest { rows, bound }).into());
            }
        }
        match self.drafting.map_or(0, |drafting| drafting.accepted_percent) {
            0..=100 => Ok(()),
            percent => Err(SimulationError::TooManyAccepted { percent }),
        }
    }

    /// The most rows of a request that decodes.
    fn widest(&self) -> u64 {
        let widest = |drafting: Drafting| drafting.speculation.topk().max(drafting.speculation.draft_tokens());
        self.drafting.map_or(1, widest)
    }

    /// The most prompt tokens of a rank in a step.
    fn prefilled(&self) -> u64 {
        self.bound.map_or(self.chunk, |bound| bound.min(self.chunk))
    }

    /// The most requests that a rank decodes at once.
    fn decoded(&self) -> usize {
        self.bound.map_or(usize::MAX, |bound| (bound / self.widest()) as usize)
    }

    /// The fewest steps that serve a trace, as far as a single request tells.
    fn fewest_steps(&self, trace: &Trace) -> u64 {
        let a_step = 1 + self
            .drafting
            .map_or(0, |drafting| drafting.speculation.accepted_at_most());
        let steps = |request: &Request| {
            // The first token of an answer comes with its prompt.
            let decoded = request.generated_tokens.saturating_sub(1);
            let chunks = request.context_tokens.div_ceil(self.prefilled());
            chunks.saturating_add(decoded.div_ceil(a_step))
        };
        trace.requests().iter().map(steps).max().unwrap_or(0)
    }
}

/// Speculative decoding, and how well it guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drafting {
    /// The widths.
    pub speculation: Speculation,
    /// Of 100 drafted tokens whose predecessors were accepted, those that are too; at most 100. Of one request no more are
    /// accepted than were [verified](Speculation::accepted_at_most).
    pub accepted_percent: u64,
    /// What the guesses follow from: the same seed gives the same steps.
    pub seed: u64,
}

/// One step of all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When the step begins, after the first request of the trace.
    pub begin: Duration,
    /// What is run, one after the other.
    pub forwards: Vec<Forward>,
}

/// One forward of all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// What every rank tells the others, from which all plan.
    pub ranks: Vec<RankStep>,
    /// Token rows that every rank really has. After a verification they are fewer than planned: rejected drafts and finished
    /// requests are gone.
    pub tokens: Vec<u64>,
    /// Tokens of each prompt that each rank prefills; no lists at all where no rank does.
    pub prompts: Vec<Vec<u64>>,
    /// Whether the draft model runs.
    pub is_draft: bool,
}

impl Step {
    /// The tokens that each rank computes with the target model.
    pub fn counts(&self) -> &[u64] {
        let target = self.forwards.iter().find(|forward| !forward.is_draft);
        target.map_or(&[], |forward| &forward.tokens)
    }

    /// Whether any rank prefills.
    pub fn extend(&self) -> bool {
        let mut ranks = self.forwards.iter().flat_map(|forward| &forward.ranks);
        ranks.any(|rank| rank.forward.is_extend())
    }
}

/// The steps of a trace that is served.
///
/// ```
/// use tilewright_dp::simulate::{Options, Simulation};
/// use tilewright_dp::trace::Trace;
///
/// let csv = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
///            2023-11-16 18:15:46,5,3\n\
///            2023-11-16 18:15:46,2,2\n";
/// let trace = Trace::parse(csv.as_bytes(), "example.csv")?;
/// let options = Options { ranks: 2, chunk: 4, ..Options::default() };
/// let counts: Vec<_> = Simulation::new(&trace, options)?.map(|step| step.counts().to_vec()).collect();
/// assert_eq!(counts, [[4, 2], [1, 1], [1, 0], [1, 0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Simulation<'a> {
    requests: &'a [Request],
    /// The next request to arrive.
    next: usize,
    ranks: Vec<Rank>,
    options: Options,
    now: Duration,
    guesses: Guesses,
    hold: Option<Hold>,
}

impl<'a> Simulation<'a> {
    /// Serves a trace from its first request on.
    ///
    /// # Errors
    /// An option is 0 or too large.
    pub fn new(trace: &'a Trace, options: Options) -> Result<Self, SimulationError> {
        options.check()?;
        Ok(Self {
            requests: trace.requests(),
            next: 0,
            ranks: vec![Rank::new(options.decoded()); options.ranks],
            options,
            now: Duration::ZERO,
            hold: options.hold.map(Hold::new).transpose()?,
            guesses: Guesses(options.drafting.map_or(0, |drafting| drafting.seed)),
        })
    }

    /// Whether ranks may prefill now.
    fn released(&mut self) -> bool {
        let Some(hold) = &mut self.hold else { return true };
        let count = |of: fn(&Rank) -> usize| self.ranks.iter().map(|rank| of(rank) as u64).collect::<Vec<_>>();
        let running = count(Rank::decoding);
        // There is one count of each kind for every rank, so there is a decision.
        let decision = hold.decide(&count(Rank::waiting), &running, &running);
        !matches!(decision, Ok(HoldDecision::Hold))
    }

    /// What the ranks run now.
    fn forwards(&mut self) -> Vec<Forward> {
        let released = self.released();
        let (chunk, ranks) = (self.options.prefilled(), &mut self.ranks);
        let prefills = released && ranks.iter().any(Rank::prefills);
        let Some(drafting) = self.options.drafting else {
            let mut prompts = Vec::new();
            let step = |rank: &mut Rank| {
                let (mut own, is_prefill) = (Vec::new(), released && rank.prefills());
                let step = match is_prefill {
                    true => rank.prefill(chunk, &mut own),
                    false => rank.decode(),
                };
                if prefills {
                    prompts.push(own);
                }
                step
            };
            let mut forward = Forward::of(ranks.iter_mut().map(step));
            forward.prompts = prompts;
            return vec![forward];
        };
        let is_chained = self.options.bound.is_some();
        if is_chained || (prefills && self.options.mixed && ranks.iter().any(Rank::only_decodes)) {
            return self.shared(drafting, is_chained);
        }
        if prefills {
            let mut prompts = vec![Vec::new(); ranks.len()];
            let prefill = |(rank, own): (&mut Rank, &mut Vec<u64>)| rank.prefill(chunk, own);
            let mut target = Forward::of(ranks.iter_mut().zip(&mut prompts).map(prefill));
            target.prompts = prompts;
            // The draft model computes the same prompts.
            let draft = Forward {
                is_draft: true,
                ..target.clone()
            };
            return vec![target, draft];
        }
        let speculation = drafting.speculation;
        let running =
            |forward: ForwardMode, width: u64| Forward::of(ranks.iter().map(|rank| rank.running(forward, width)));
        // The first draft comes from the draft-extend before.
        let drafts = running(ForwardMode::DraftDecode, speculation.topk());
        let mut forwards = vec![drafts.of_draft(); speculation.steps() as usize - 1];
        forwards.push(running(ForwardMode::TargetVerify, speculation.draft_tokens()));
        let guesses = &mut self.guesses;
        let mut accept = || guesses.accepted(speculation.accepted_at_most(), drafting.accepted_percent);
        forwards.push(Forward::of(ranks.iter_mut().map(|rank| rank.accept(&mut accept))).of_draft());
        forwards
    }

    /// The forwards of a step in which some ranks prefill and others decode. With `is_chained` they are the same in
    /// every step; otherwise some rank decodes.
    fn shared(&mut self, drafting: Drafting, is_chained: bool) -> Vec<Forward> {
        let (chunk, ranks) = (self.options.prefilled(), &mut self.ranks);
        let (speculation, mut prompts) = (drafting.speculation, vec![Vec::new(); ranks.len()]);
        let drafts = ranks.iter().any(Rank::only_decodes);
        // What those prefill that do.
        let begin = |(rank, own): (&mut Rank, &mut Vec<u64>)| rank.prefills().then(|| rank.prefill(chunk, own));
        let prefilled: Vec<_> = ranks.iter_mut().zip(&mut prompts).map(begin).collect();
        let of = |forward: ForwardMode, width: u64| {
            let step = |(rank, own): (&Rank, &Option<(RankStep, u64)>)| match own {
                // They tell their tokens in every forward, and have none in a draft's.
                Some((step, _)) if forward == ForwardMode::DraftDecode => match drafts {
                    true => (*step, 0),
                    false => (RankStep::idle(), 0),
                },
                Some(own) => *own,
                None => rank.running(forward, width),
            };
            Forward::of(ranks.iter().zip(&prefilled).map(step))
        };
        let mut forwards = Vec::new();
        if drafts || is_chained {
            let draft = of(ForwardMode::DraftDecode, speculation.topk()).of_draft();
            forwards.resize(speculation.steps() as usize - 1, draft);
        }
        let mut target = of(ForwardMode::TargetVerify, speculation.draft_tokens());
        let guesses = &mut self.guesses;
        let mut accept = || guesses.accepted(speculation.accepted_at_most(), drafting.accepted_percent);
        let extend = |(rank, own): (&mut Rank, &Option<(RankStep, u64)>)| match own {
            Some(own) => *own,
            None => rank.accept(&mut accept),
        };
        let extend = Forward::of(ranks.iter_mut().zip(&prefilled).map(extend)).of_draft();
        if prefilled.iter().any(Option::is_some) {
            target.prompts = prompts;
        }
        forwards.extend([target, extend]);
        forwards
    }
}

impl Iterator for Simulation<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if self.ranks.iter().all(Rank::is_idle) {
                self.now = self.now.max(self.requests.get(self.next)?.arrival);
            }
            let is_here = |request: &&Request| request.arrival <= self.now;
            while let Some(request) = self.requests.get(self.next).filter(is_here) {
                let rank = self.next % self.ranks.len();
                self.ranks[rank].admit(request);
                self.next += 1;
            }
            let begin = self.now;
            self.now = self.now.saturating_add(self.options.step);
            self.ranks.iter_mut().for_each(Rank::promote);
            // Requests without any token to compute make no step.
            if !self.ranks.iter().all(Rank::is_idle) {
                let forwards = self.forwards();
                return Some(Step { begin, forwards });
            }
        }
    }
}

impl Forward {
    fn of(ranks: impl Iterator<Item = (RankStep, u64)>) -> Self {
        let (ranks, tokens) = ranks.unzip();
        Self {
            ranks,
            tokens,
            prompts: Vec::new(),
            is_draft: false,
        }
    }

    /// The same of the draft model.
    fn of_draft(self) -> Self {
        Self { is_draft: true, ..self }
    }
}

/// Which drafts are right: SplitMix64.
#[derive(Debug, Clone)]
struct Guesses(u64);

impl Guesses {
    /// How many of `drafts` tokens are accepted, one after the other until one is not.
    fn accepted(&mut self, drafts: u64, percent: u64) -> u64 {
        (0..drafts).take_while(|_| self.next() % 100 < percent).count() as u64
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
