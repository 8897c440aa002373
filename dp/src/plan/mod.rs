//! What a step of data-parallel attention needs: counts, padding, buffers, graph, logits.
//!
//! Before every step the ranks exchange their counts, and from then on each has to come to the same answers: how many rows
//! every rank contributes, where they lie, whether a graph runs and in which buffer. A [`Plan`] is all of these answers.
//! It is computed from a [`Request`] alone, without a device, and everything that is sized by a step takes its sizes from
//! it.
//!
//! SGLang has changed the rules many times; a [`Profile`] is one version's. The first two are those before and after its
//! pull request 8277, which stopped allocating a gathered buffer where a graph runs:
//!
//! ```
//! use tilewright_dp::plan::{Plan, Profile, Request, capture_sizes};
//!
//! let before = Request {
//!     profile: Profile::Base8277,
//!     graph_ok: true,
//!     graph_buckets: Some(capture_sizes(false, 160)),
//!     ..Request::new(vec![20; 8], 8)
//! };
//! let after = Request { profile: Profile::Pr8277, ..before.clone() };
//! assert_eq!(Plan::new(&before)?.allocated_bytes(), 2_293_760);
//! assert_eq!(Plan::new(&after)?.allocated_bytes(), 0);
//! # Ok::<(), tilewright_dp::plan::PlanError>(())
//! ```
//!
//! | file | answers |
//! |---|---|
//! | `request` | what is asked; what is refused |
//! | `step`, `forward`, `speculation`, `topology` | how an engine's step becomes a request |
//! | `mode` | alignment; `MAX` or `SUM`, and why |
//! | `exchange` | what ranks tell each other before a step, and what all conclude |
//! | `graph`, `prefill` | which graph runs, and what it needs; whether a prefill graph does |
//! | `logits` | rows of the logits stage |
//! | `batch` | how a rank's own tensors are padded |
//! | [`micro`] | whether a step runs in parts, and where it is cut |
//! | `shards` | rows of context-parallel parts |
//! | `sizes`, `wire` | sizes of uneven collectives, and bytes of what travels in them |
//! | `hold` | when prompts wait for those of other ranks |
//! | `draft`, `slot` | counts of a step that prefills and drafts; the draft model's forwards, and its slot of a gather |
//! | `all_to_all` | rows that the experts' back end takes |
//! | `bounds` | plans without an exchange |
//! | `symmetric` | which buffers may come from symmetric memory |
//! | `explain`, `serialize`, `compare` | a plan for people, for programs, and beside other versions' |

mod all_to_all;
mod batch;
mod bounds;
mod by_name;
mod compare;
mod draft;
mod error;
pub mod exchange;
mod explain;
mod forward;
mod graph;
mod hold;
mod logits;
pub mod micro;
mod mode;
mod prefill;
mod profile;
mod request;
mod serialize;
mod shards;
mod sizes;
mod slot;
mod speculation;
mod step;
mod symmetric;
mod topology;
mod wire;

pub use all_to_all::{AllToAll, AllToAllError, AllToAllPlan, DispatchWorkspace, MAX_LOW_LATENCY_ROWS};
pub use batch::{BatchPlan, Fill, TensorPadding};
pub use bounds::{Answer, AtMost, Bound, BoundError, BoundPlan, ExpertBound, ExpertRows, Own, OwnStep, SizeUse};
pub use compare::Comparison;
pub use draft::{DraftChain, DraftError, MixedStep, Phase, PhasePlan, model_counts, speculates};
pub use error::PlanError;
pub use forward::{ForwardMode, Width};
pub use graph::{Execution, Graph, WhyEager, capture_sizes};
pub use hold::{Hold, HoldDecision, HoldError, HoldLimits};
pub use logits::{LogitsStage, Prompt, logprob_rows};
pub use mode::{ModeReason, Padding};
pub use prefill::{PrefillGraph, WhyNoPrefillGraph};
pub use profile::Profile;
pub use request::Request;
pub use shards::{Combine, ShardError, ShardPlan, Shards, zigzag_blocks};
pub use sizes::{ExpertCombine, Form, Sizes, expert_combine};
pub use slot::GatherSlot;
pub use speculation::{MAX_SPECULATION, Speculation};
pub use step::{RankStep, Step};
pub use symmetric::{ReduceWorkspace, Symmetric};
pub use topology::{ContextParallel, Topology};
pub use wire::{MAX_EXPERTS_PER_TOKEN, WireError, WireFormat, WirePlan, WireRow};

pub(crate) use request::check_size;
pub(crate) use topology::check_ranks;

use exchange::ToldPlan;
use micro::MicroPlan;

use crate::layout::{GatheredLayout, HiddenState, PaddingMode};

/// The most rows of a buffer, and the largest of any size that a request names: what the 32-bit counts of a captured graph
/// can hold.
pub const MAX_ROWS: u64 = i32::MAX as u64;

/// The most ranks of a group: data-parallel ranks, and GPUs of a tensor-parallel group. It is far above what engines run,
/// and what is planned for each of them fits in memory.
pub const MAX_RANKS: u64 = 1 << 14;

/// The most captured sizes that a request lists. Engines capture a few dozen, and every plan looks through all of them.
pub const MAX_SIZES: usize = 1 << 10;

/// The plan of one step. It prints as a table, [explains](Self::explain) itself, and serialises.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    profile: Profile,
    /// Data-parallel ranks; the layout has one slot for each, or one for the local rank alone.
    dp: u64,
    /// Tokens per request of this forward.
    width: u64,
    /// GPUs of all ranks.
    gpus: u64,
    /// Whether any rank prefills.
    extend: bool,
    /// Whether state-space layers are among those of attention.
    hybrid: bool,
    execution: Execution,
    prefill: Option<PrefillGraph>,
    reason: ModeReason,
    layout: GatheredLayout,
    logits: LogitsStage,
    micro: Option<MicroPlan>,
    shards: Option<ShardPlan>,
    wire: Option<WirePlan>,
    told: Option<ToldPlan>,
    phase: Option<PhasePlan>,
    bound: Option<BoundPlan>,
    /// One for each gathered buffer, or none.
    all_to_all: Vec<AllToAllPlan>,
    experts: Option<ExpertCombine>,
    symmetric: Option<Symmetric>,
    /// GPUs that share one rank's attention.
    attention_tp: u64,
}

/// One rank's part of the gathered buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its first row.
    pub start: u64,
    /// Its rows.
    pub rows: u64,
    /// The rows that hold a token.
    pub tokens: u64,
}

impl Plan {
    /// Plans a step: what SGLang spreads over `prepare_mlp_sync_batch`, its graph runners and `set_dp_buffer_len`. It
    /// allocates the lists of its result and nothing else.
    ///
    /// # Errors
    /// The request contradicts itself, or a size is over [`MAX_ROWS`], [`MAX_RANKS`] or [`MAX_SIZES`].
    pub fn new(request: &Request) -> Result<Self, PlanError> {
        request.check()?;
        let shards = request.shards.as_deref();
        let Some(exchange) = &request.exchange else {
            return Self::of_phase(request, None, shards);
        };
        let (own, told) = exchange.resolve(request)?;
        own.check()?;
        Self::of_phase(&own, Some(told), shards)
    }

    /// Plans a request that was checked, by what its ranks told if they did.
    fn of_phase(request: &Request, told: Option<ToldPlan>, shards: Option<&[Vec<u64>]>) -> Result<Self, PlanError> {
        let Some(mixed) = &request.mixed else {
            return Self::of(request, told, None, shards);
        };
        let (own, phase) = mixed.resolve(request)?;
        own.check()?;
        Self::of(&own, told, Some(phase), shards)
    }

    /// Plans a request that was checked and has one width.
    fn of(
        request: &Request,
        told: Option<ToldPlan>,
        phase: Option<PhasePlan>,
        shards: Option<&[Vec<u64>]>,
    ) -> Result<Self, PlanError> {
        let scaled = request.scaled()?;
        // Only the bytes of a row are known here, not what it is made of.
        let hidden = HiddenState {
            size: request.row_bytes,
            element_bytes: 1,
        };
        let ranks = scaled.len();
        let bound = request.bound.map(|bound| BoundPlan::new(bound, &scaled, request.dp));
        let bound = bound.transpose()?;
        let is_mixed = phase.is_some_and(|phase| phase.is_mixed());
        let agreed = told.as_ref().and_then(|told| told.rows.as_ref());
        let mut execution = match agreed {
            Some(rows) => graph::agreed(rows, request, &scaled),
            None => graph::choose(request, &scaled)?,
        };
        let prefill = PrefillGraph::of(request, &scaled, is_mixed, shards.is_some());
        let micro = micro::decide(request, &scaled, told.as_ref(), &mut execution, hidden)?;
        let (reason, layout) = match (agreed, &execution, request.bound) {
            (Some(rows), ..) => mode::agreed(rows, scaled, hidden)?,
            // A graph has exactly the bound's rows, or none runs.
            (None, _, Some(bound)) => {
                let rows = bound.rows;
                (ModeReason::Bound { rows }, bound.layout(&scaled, request.dp, hidden)?)
            }
            (None, Execution::Graph(graph), None) => {
                let (mode, reason) = match request.profile {
                    Profile::Base8277 | Profile::Pr8277 => (PaddingMode::Sum, ModeReason::OnlyMode),
                    _ => (PaddingMode::Max, ModeReason::Captured),
                };
                if graph.rows > MAX_ROWS {
                    return Err(mode::too_many_rows(ranks));
                }
                (reason, GatheredLayout::fixed_of(mode, scaled, graph.rows, hidden)?)
            }
            (None, Execution::Eager(_), None) => {
                let (mode, reason) = mode::choose(request, &scaled, is_mixed, prefill.as_ref())?;
                let layout = GatheredLayout::of(mode, scaled, mode::alignment(request), hidden)?;
                (reason, layout)
            }
        };
        if layout.rows() > MAX_ROWS {
            return Err(mode::too_many_rows(ranks));
        }
        let logits = LogitsStage::new(request, &execution, &layout, hidden)?;
        let shards = shards.map(|shards| ShardPlan::new(shards, &layout));
        let experts = request.experts_per_token.unwrap_or(0);
        let gathered = gathered(&layout, micro.as_ref());
        let rows = gathered.clone().map(GatheredLayout::rows).sum();
        let all_to_all = match &request.all_to_all {
            None => Vec::new(),
            Some(back_end) => {
                let plan = |layout: &GatheredLayout| {
                    back_end.plan(layout.padded(), request.dp, request.attn_tp, request.extend)
                };
                gathered.clone().map(plan).collect::<Result<_, _>>()?
            }
        };
        let symmetric = request.symmetric.then(|| {
            let gpus = request.dp.saturating_mul(request.attn_tp);
            Symmetric::new(gpus, request.dp, gathered, logits.padded())
        });
        // A back end that leaves a prefill to a gather has it in bfloat16.
        let is_gathered = matches!(all_to_all.first(), Some(AllToAllPlan::Gather { .. }));
        let wire = |format| {
            let format = if is_gathered { WireFormat::Bf16 } else { format };
            WirePlan::of_rows(format, request.row_bytes, experts, rows)
        };
        let wire = request.wire.map(wire).transpose()?;
        let experts = match request.ep {
            Some(groups) if request.all_to_all.is_none() => Some(request.expert_combine(groups)?),
            _ => None,
        };
        Ok(Self {
            profile: request.profile,
            dp: request.dp,
            gpus: request.dp.saturating_mul(request.attn_tp),
            width: match phase {
                // Each rank that decodes has it, and a prompt one token at least.
                Some(phase) if phase.is_mixed() => phase.width,
                _ => request.coef,
            },
            extend: request.extend,
            hybrid: request.hybrid_idle,
            execution,
            prefill,
            reason,
            layout,
            logits,
            micro,
            shards: shards.transpose()?,
            wire,
            told,
            phase,
            bound,
            all_to_all,
            experts,
            symmetric,
            attention_tp: request.attn_tp,
        })
    }

    /// Whose rules were followed.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Bytes that the schedulers of all GPUs exchanged before the step, those of context-parallel parts not counted.
    pub fn exchanged_bytes(&self) -> u64 {
        match (&self.bound, &self.told) {
            (Some(_), _) => 0,
            (None, Some(told)) => told.form.exchanged_bytes(self.gpus, self.dp),
            (None, None) => self.profile.exchanged_by(self.gpus, self.dp),
        }
    }

    /// How the step is run.
    pub fn execution(&self) -> &Execution {
        &self.execution
    }

    /// The graph that runs the step, if one does.
    pub fn graph(&self) -> Option<&Graph> {
        match &self.execution {
            Execution::Graph(graph) => Some(graph),
            Execution::Eager(_) => None,
        }
    }

    /// What became of the prefill graph, if the request has sizes that were captured. It replays what lies between the
    /// collectives, so that the step's buffers are those of an eager forward.
    pub fn prefill_graph(&self) -> Option<PrefillGraph> {
        self.prefill
    }

    /// The gathered buffer that the step runs in, the graph's own if one runs: tokens, rows and start of every rank.
    pub fn layout(&self) -> &GatheredLayout {
        &self.layout
    }

    /// How ranks are padded.
    pub fn mode(&self) -> PaddingMode {
        self.layout.mode()
    }

    /// Why they are padded so.
    pub fn reason(&self) -> ModeReason {
        self.reason
    }

    /// The rows that the LM head sees.
    pub fn logits(&self) -> &LogitsStage {
        &self.logits
    }

    /// Where a rank's rows lie (SGLang: `dp_local_start_pos` and `dp_local_num_tokens`). A plan from the local
    /// rank's count alone has the same slot for every rank.
    ///
    /// ```
    /// use tilewright_dp::plan::{Plan, Request, Slot};
    ///
    /// let plan = Plan::new(&Request::new(vec![10, 3, 0, 7], 4))?;
    /// assert_eq!(plan.slot(1)?, Slot { start: 10, rows: 10, tokens: 3 });
    /// assert_eq!(plan.slot(4).unwrap_err().to_string(), "there is no rank 4; there are 4, counted from 0");
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// There is no such rank.
    pub fn slot(&self, rank: u64) -> Result<Slot, PlanError> {
        if rank >= self.dp {
            return Err(PlanError::NoSuchRank { rank, ranks: self.dp });
        }
        let layout = &self.layout;
        let slot = if layout.ranks() == 1 { 0 } else { rank as usize };
        Ok(Slot {
            start: layout.starts()[slot],
            rows: layout.padded()[slot],
            tokens: layout.counts()[slot],
        })
    }

    /// Whether the step runs in micro-batches, if that was asked.
    pub fn micro(&self) -> Option<&MicroPlan> {
        self.micro.as_ref()
    }

    /// The micro-batches that the step runs in; none if it runs as one.
    pub fn parts(&self) -> &[micro::Part] {
        self.micro.as_ref().map_or(&[], MicroPlan::parts)
    }

    /// What is gathered: the buffer, or that of each micro-batch.
    pub fn gathered(&self) -> impl Iterator<Item = &GatheredLayout> + Clone {
        gathered(&self.layout, self.micro.as_ref())
    }

    /// Rows that are gathered: of the buffer, or of all micro-batches.
    pub fn gathered_rows(&self) -> u64 {
        self.gathered().map(GatheredLayout::rows).sum()
    }

    /// Where context-parallel parts write, if they were told.
    pub fn shards(&self) -> Option<&ShardPlan> {
        self.shards.as_ref()
    }

    /// What travels to the experts and back, if the wire was told.
    pub fn wire(&self) -> Option<&WirePlan> {
        self.wire.as_ref()
    }

    /// What its ranks told each other, and all conclude, if that was given.
    pub fn told(&self) -> Option<&ToldPlan> {
        self.told.as_ref()
    }

    /// Which forward of a speculative step it is, if that was told.
    pub fn phase(&self) -> Option<&PhasePlan> {
        self.phase.as_ref()
    }

    /// What is known without an exchange, if the plan has none.
    pub fn bound(&self) -> Option<&BoundPlan> {
        self.bound.as_ref()
    }

    /// How rows reach their experts, if a back end was told: those of the buffer, or of each micro-batch.
    pub fn all_to_all(&self) -> &[AllToAllPlan] {
        &self.all_to_all
    }

    /// How what the experts computed comes back, if their groups were told and no all-to-all brings it.
    pub fn expert_combine(&self) -> Option<ExpertCombine> {
        self.experts
    }

    /// What may come from symmetric memory, if that was asked.
    pub fn symmetric(&self) -> Option<Symmetric> {
        self.symmetric
    }

    /// Rows of every GPU in a gather of the buffer, and in the reduce-scatter that returns them: a rank's own, which
    /// are split over its attention TP group. Under a graph of packed ranks, the rows after the last belong to nobody.
    ///
    /// ```
    /// use tilewright_dp::plan::{Form, Padding, Plan, Request};
    ///
    /// let request = Request { extend: true, padding: Padding::WhenNeeded, ..Request::new(vec![900, 40, 0], 3) };
    /// let sizes = Plan::new(&request)?.sizes()?;
    /// assert_eq!((sizes.rows(), sizes.form()), (940, Form::Broadcasts(3)));
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// There are too many GPUs, or their rows rounded up are too many.
    pub fn sizes(&self) -> Result<Sizes, PlanError> {
        Sizes::sequence_parallel(self.layout.padded(), self.attention_tp)
    }

    /// Bytes of this plan's rows on another wire, without the experts of each row. One all-gather moves so many; an
    /// all-reduce, which is how versions without a gather of uneven sizes fill a `SUM` buffer, about twice those of bf16.
    ///
    /// # Errors
    /// The format's blocks do not divide the hidden state, or its rows are not of bfloat16.
    pub fn wire_bytes(&self, format: WireFormat) -> Result<u64, PlanError> {
        let wire = WirePlan::of_rows(format, self.layout.row_bytes(), 0, self.gathered_rows())?;
        Ok(wire.gathered_bytes())
    }

    /// Rows of the gathered buffers that are allocated for this step alone: the buffer of an eager forward, or those of its
    /// micro-batches; under a graph none, except before pull request 8277.
    pub fn allocated_rows(&self) -> u64 {
        match &self.execution {
            Execution::Eager(_) => self.gathered_rows(),
            Execution::Graph(graph) => graph.transient_rows,
        }
    }

    /// Bytes of [`allocated_rows`](Self::allocated_rows).
    pub fn allocated_bytes(&self) -> u64 {
        // Both are at most MAX_ROWS: transient rows are at most those of the graph, which hold them.
        self.allocated_rows() * self.layout.row_bytes()
    }
}

fn gathered<'a>(
    layout: &'a GatheredLayout,
    micro: Option<&'a MicroPlan>,
) -> impl Iterator<Item = &'a GatheredLayout> + Clone {
    let parts = micro.map_or(&[][..], MicroPlan::parts);
    let whole = parts.is_empty().then_some(layout);
    whole.into_iter().chain(parts.iter().map(micro::Part::layout))
}
