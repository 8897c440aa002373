//! Whether a step is split, and what each part needs of the gathered buffer.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::super::exchange::{Rows, ToldPlan};
use super::super::{AllToAll, Execution, MAX_ROWS, PlanError, Profile, Request, WhyEager, check_ranks, mode};
use super::slices::{check_batches, part};
use super::{Cut, DualBatch, Micro, MicroError, Runner, TwoBatch, last_is_empty};
use crate::draw::quantity;
use crate::layout::{GatheredLayout, HiddenState, PaddingMode};

/// Whether a step runs in parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MicroPlan {
    /// It runs as one.
    Whole(WhyWhole),
    /// It runs in these parts, one after the other on one communication stream.
    Split(Vec<Part>),
}

impl MicroPlan {
    /// The parts; none if the step is whole.
    pub fn parts(&self) -> &[Part] {
        match self {
            Self::Whole(_) => &[],
            Self::Split(parts) => parts,
        }
    }
}

/// Why a step is not split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhyWhole {
    /// No rank has tokens.
    Nothing,
    /// Ranks told each other whether they want it, and did not agree.
    NotAgreed,
    /// Some rank prefills and another decodes.
    ModesDiffer,
    /// A step prefills, and the experts' low-latency all-to-all takes few rows.
    LowLatency,
    /// A rank has too few tokens.
    BelowThreshold {
        /// The rank with the fewest, counted from 0.
        rank: usize,
        /// Its tokens.
        tokens: u64,
        /// The fewest that a split needs.
        threshold: u64,
    },
    /// Some part would hold no token on any rank.
    TooFew {
        /// Tokens of the longest rank.
        agreed: u64,
        /// Micro-batches.
        batches: u64,
    },
    /// The last part would hold no token on some rank.
    LastEmpty {
        /// Tokens of the rank with the fewest.
        fewest: u64,
        /// Tokens of all parts but the last.
        before: u64,
    },
}

impl fmt::Display for WhyWhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no rank has tokens"),
            Self::NotAgreed => f.write_str("not every rank told that it wants them, or some part would be empty"),
            Self::ModesDiffer => f.write_str("some ranks prefill and others decode, and both halves need one mode"),
            Self::LowLatency => f.write_str("a low-latency all-to-all does not overlap with prefills"),
            Self::BelowThreshold {
                rank,
                tokens,
                threshold,
            } => write!(
                f,
                "rank {rank} has {}, fewer than the {threshold} from which a split pays",
                quantity(*tokens, "token")
            ),
            Self::TooFew { agreed, batches } => write!(
                f,
                "the longest rank has {}, fewer than {batches} parts",
                quantity(*agreed, "token")
            ),
            Self::LastEmpty { fewest, before } => write!(
                f,
                "the first parts hold {} and a rank has {fewest}, so its last part would be all padding",
                quantity(*before, "token")
            ),
        }
    }
}

/// One part of a split step on all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    layout: GatheredLayout,
    attention_tp: u64,
}

impl Part {
    /// Its gathered buffer: tokens, rows and start of every rank. SGLang packs halves of each rank's own length, vLLM's
    /// parts are equal on all ranks.
    pub fn layout(&self) -> &GatheredLayout {
        &self.layout
    }

    /// Rows that every GPU sends: a rank's rows are split evenly over its attention TP group, which gathers them again after
    /// the combine. vLLM's parts need not divide among it; their sizes are rounded up, as for sequence parallelism.
    pub fn sizes(&self) -> Vec<u64> {
        let of_rank = |&rows: &u64| std::iter::repeat_n(rows.div_ceil(self.attention_tp), self.attention_tp as usize);
        self.layout.padded().iter().flat_map(of_rank).collect()
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let layout = &self.layout;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tokens", layout.counts())?;
        map.serialize_entry("padded", layout.padded())?;
        map.serialize_entry("local_start", layout.starts())?;
        map.serialize_entry("buffer_rows", &layout.rows())?;
        map.serialize_entry("buffer_bytes", &layout.bytes())?;
        map.serialize_entry("mode", &layout.mode())?;
        map.end()
    }
}

/// Decides for a step that is otherwise planned, as its ranks agreed if they told. A step that the second runner splits loses
/// its graph.
pub(in super::super) fn decide(
    request: &Request,
    scaled: &[u64],
    told: Option<&ToldPlan>,
    execution: &mut Execution,
    hidden: HiddenState,
) -> Result<Option<MicroPlan>, PlanError> {
    if request.micro.is_some() {
        // Every GPU has a size of its own.
        check_ranks("tp", request.attn_tp.saturating_mul(scaled.len() as u64))?;
    }
    let agreed = match told.and_then(|told| told.rows.as_ref()) {
        Some(&Rows::Equal { rows, .. }) => Some(rows),
        _ => None,
    };
    let plan = match &request.micro {
        None => return Ok(None),
        Some(_) if told.is_some_and(|told| told.split() == Some(false)) => MicroPlan::Whole(WhyWhole::NotAgreed),
        Some(Micro::Tbo(two)) => two_batch(two, request, scaled, execution, hidden)?,
        Some(Micro::Dbo(dual)) => dual_batch(dual, request, scaled, agreed, execution, hidden)?,
    };
    let rows: u64 = plan.parts().iter().map(|part| part.layout.rows()).sum();
    if rows > MAX_ROWS {
        return Err(mode::too_many_rows(scaled.len()));
    }
    let is_second = matches!(&request.micro, Some(Micro::Dbo(dual)) if dual.runner == Runner::V2);
    if is_second && !plan.parts().is_empty() && matches!(execution, Execution::Graph(_)) {
        *execution = Execution::Eager(WhyEager::Split);
    }
    Ok(Some(plan))
}

fn two_batch(
    two: &TwoBatch,
    request: &Request,
    scaled: &[u64],
    execution: &Execution,
    hidden: HiddenState,
) -> Result<MicroPlan, PlanError> {
    if two.two_chunk_percent > 50 {
        let percent = two.two_chunk_percent;
        return Err(MicroError::MoreThanHalf { percent }.into());
    }
    let cuts = match (&two.prompts, request.extend) {
        (None, true) => return Err(MicroError::NoPrompts.into()),
        (Some(_), false) => return Err(MicroError::PromptsOfDecode.into()),
        (None, false) => None,
        (Some(prompts), true) => match cuts(two, prompts, scaled)? {
            Some(cuts) => Some(cuts),
            None => return Ok(MicroPlan::Whole(WhyWhole::ModesDiffer)),
        },
    };
    if scaled.iter().all(|&tokens| tokens == 0) {
        return Ok(MicroPlan::Whole(WhyWhole::Nothing));
    }
    if request.extend && matches!(request.all_to_all, Some(AllToAll::DeepEpLowLatency { .. })) {
        return Ok(MicroPlan::Whole(WhyWhole::LowLatency));
    }
    // A graph with equal ranks is cut where its bucket is; earlier ones, of packed ranks, where each rank is.
    let graph = match execution {
        Execution::Graph(graph) if request.profile >= Profile::Pr8280 => Some(graph),
        _ => None,
    };
    let cut = |rank: usize| match (&cuts, graph) {
        (Some(cuts), _) => cuts[rank],
        (None, Some(graph)) => Cut::of_requests(graph.bucket, request.coef).tokens,
        (None, None) => Cut::of_requests(request.raw[rank], request.coef).tokens,
    };
    let cut: Vec<u64> = (0..scaled.len()).map(cut).collect();
    let first: Vec<u64> = scaled.iter().zip(&cut).map(|(&tokens, &cut)| tokens.min(cut)).collect();
    let second = scaled
        .iter()
        .zip(&first)
        .map(|(tokens, first)| tokens - first)
        .collect();
    let rows = match graph {
        Some(graph) => [cut[0], graph.attention_rows - cut[0]].map(Some),
        None => [None; 2],
    };
    let half = |counts: Vec<u64>, rows: Option<u64>| {
        let layout = match rows {
            Some(rows) => equal(counts, rows.next_multiple_of(request.attn_tp), hidden)?,
            None => GatheredLayout::of(PaddingMode::Sum, counts, request.attn_tp, hidden)?,
        };
        checked(layout, request)
    };
    let [of_first, of_second] = rows;
    Ok(MicroPlan::Split(vec![half(first, of_first)?, half(second, of_second)?]))
}

/// Where every rank cuts its prompts; nowhere if some rank with tokens has none.
fn cuts(two: &TwoBatch, prompts: &[Vec<u64>], scaled: &[u64]) -> Result<Option<Vec<u64>>, MicroError> {
    if prompts.len() != scaled.len() {
        return Err(MicroError::WrongNumberOfLists {
            prompts: prompts.len(),
            counts: scaled.len(),
        });
    }
    let mut decodes = false;
    for (rank, (prompts, &count)) in prompts.iter().zip(scaled).enumerate() {
        let tokens = super::cut::total(prompts)?;
        decodes |= prompts.is_empty() && count > 0;
        if !prompts.is_empty() && tokens != count {
            return Err(MicroError::OtherSum {
                rank,
                prompts: tokens,
                count,
            });
        }
    }
    if decodes {
        return Ok(None);
    }
    let cut = |prompts: &Vec<u64>| Cut::of_prompts(prompts, two.two_chunk_percent).map(|cut| cut.tokens);
    prompts.iter().map(cut).collect::<Result<_, _>>().map(Some)
}

fn dual_batch(
    dual: &DualBatch,
    request: &Request,
    scaled: &[u64],
    told: Option<u64>,
    execution: &Execution,
    hidden: HiddenState,
) -> Result<MicroPlan, PlanError> {
    check_batches(dual.batches)?;
    let threshold = dual.threshold(request.extend);
    let fewest = scaled.iter().copied().enumerate().min_by_key(|&(_, tokens)| tokens);
    let (rank, fewest) = fewest.unwrap_or((0, 0));
    let longest = scaled.iter().copied().max().unwrap_or(0);
    if longest == 0 {
        return Ok(MicroPlan::Whole(WhyWhole::Nothing));
    }
    if told.is_none() && fewest < threshold {
        return Ok(MicroPlan::Whole(WhyWhole::BelowThreshold {
            rank,
            tokens: fewest,
            threshold,
        }));
    }
    let agreed = match (told, execution, dual.runner) {
        (Some(rows), ..) => rows,
        (None, Execution::Graph(graph), Runner::V1) => graph.attention_rows,
        _ => longest.next_multiple_of(mode::alignment(request)),
    };
    if told.is_none() && dual.runner == Runner::V1 && last_is_empty(fewest, agreed, dual.batches) {
        let before = agreed / dual.batches * (dual.batches - 1);
        return Ok(MicroPlan::Whole(WhyWhole::LastEmpty { fewest, before }));
    }
    if agreed < dual.batches {
        let batches = dual.batches;
        return Ok(MicroPlan::Whole(WhyWhole::TooFew { agreed, batches }));
    }
    let one = |index: u64| {
        let tokens = part(agreed, dual.batches, index);
        let counts = scaled
            .iter()
            .map(|&own| own.clamp(tokens.start, tokens.end) - tokens.start);
        checked(equal(counts.collect(), tokens.end - tokens.start, hidden)?, request)
    };
    let parts = (0..dual.batches).map(one).collect::<Result<_, _>>()?;
    Ok(MicroPlan::Split(parts))
}

/// Equal ranks of so many rows each.
fn equal(counts: Vec<u64>, rows: u64, hidden: HiddenState) -> Result<GatheredLayout, PlanError> {
    let ranks = counts.len();
    let all = rows.checked_mul(ranks as u64).filter(|&all| all <= MAX_ROWS);
    let all = all.ok_or(mode::too_many_rows(ranks))?;
    Ok(GatheredLayout::fixed_of(PaddingMode::Max, counts, all, hidden)?)
}

fn checked(layout: GatheredLayout, request: &Request) -> Result<Part, PlanError> {
    match layout.rows() > MAX_ROWS {
        true => Err(mode::too_many_rows(layout.ranks())),
        false => Ok(Part {
            layout,
            attention_tp: request.attn_tp,
        }),
    }
}
