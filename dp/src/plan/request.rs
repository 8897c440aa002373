//! What a plan is made from.

use serde::{Deserialize, Serialize};

use super::all_to_all::AllToAll;
use super::bounds::{Bound, BoundError};
use super::by_name::by_name;
use super::draft::MixedStep;
use super::exchange::Told;
use super::micro::Micro;
use super::mode::Padding;
use super::sizes::{ExpertCombine, expert_combine};
use super::topology::check_ranks;
use super::{MAX_ROWS, MAX_SIZES, PlanError, Profile, Topology, WireError, WireFormat};

/// Everything that decides the plan of one step: what the ranks exchanged, how they are grouped, and which graphs there
/// are. Every rank that plans the same request comes to the same plan.
///
/// In JSON a request is an object whose fields have the same names; those with a default here may be left out, others are
/// refused.
///
/// ```
/// use tilewright_dp::plan::{Plan, Profile, Request};
///
/// let request = Request { attn_tp: 4, ..Request::new(vec![1, 9], 2) };
/// assert_eq!(Plan::new(&request)?.layout().padded(), [12, 12]);
///
/// let request: Request = serde_json::from_str(r#"{"profile": "pr-8277", "raw": [1, 9], "dp": 2, "attn_tp": 4}"#)?;
/// assert_eq!(request.profile, Profile::Pr8277);
/// assert_eq!(Plan::new(&request)?.layout().padded(), [1, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Request {
    /// Whose rules to follow; by default the latest.
    #[serde(default)]
    pub profile: Profile,
    /// One count per data-parallel rank as the scheduler has it: tokens where a rank prefills, requests otherwise. Where
    /// only the attention TP group gathers, the list has the local rank's count alone. SGLang: `global_num_tokens`.
    pub raw: Vec<u64>,
    /// Data-parallel attention ranks, the number of slots that an all-gather fills.
    pub dp: u64,
    /// GPUs that share one rank's attention; 1 by default.
    #[serde(default = "one")]
    pub attn_tp: u64,
    /// Tokens per count of [`raw`](Self::raw) in this forward, such as the draft tokens that a verification checks; 1 by
    /// default. SGLang: `num_tokens_per_req` of the speculative input.
    #[serde(default = "one")]
    pub coef: u64,
    /// Rows per count at the logits stage, at most [`coef`](Self::coef), which is the default. SGLang:
    /// `num_tokens_for_logprob_per_req`.
    #[serde(default)]
    pub coef_lp: Option<u64>,
    /// Counts of the logits stage; [`raw`](Self::raw) by default. SGLang: `num_tokens_for_logprob` of every rank.
    #[serde(default)]
    pub raw_lp: Option<Vec<u64>>,
    /// Whether any rank prefills. SGLang: `is_extend_in_batch`, the maximum over ranks.
    #[serde(default)]
    pub extend: bool,
    /// Context parallelism splits a rank's rows into a multiple of this; 1 by default. For `main-2026-09`: earlier versions
    /// have no such alignment, and `main-2026-11` refuses it, because its parts are aligned alone
    /// ([`shards`](Self::shards)).
    #[serde(default = "one")]
    pub cp_align: u64,
    /// Batch sizes, in requests, for which a graph was captured; none by default.
    #[serde(default)]
    pub graph_buckets: Option<Vec<u64>>,
    /// Whether every rank voted for a decode graph: all decode or idle, so none may prefill. SGLang:
    /// `can_run_dp_cuda_graph`, the minimum over ranks.
    #[serde(default)]
    pub graph_ok: bool,
    /// Whether the model mixes attention with state-space layers, so that a rank without tokens joins a prefill as `MAX`.
    /// From `main-2026-09` on.
    #[serde(default)]
    pub hybrid_idle: bool,
    /// Whether the all-to-all back end of the experts needs equal ranks: pplx, or DeepEP told so. From `main-2026-09` on.
    #[serde(default)]
    pub force_max: bool,
    /// Whether a rank is just joining an elastic group. From `main-2026-09` on.
    #[serde(default)]
    pub elastic_join: bool,
    /// Token counts for which a prefill graph was captured, if every rank voted to use it; none by default. From
    /// `main-2026-09` on.
    ///
    /// Sizes that attention TP does not divide serve too, other than those of [`graph_buckets`](Self::graph_buckets):
    /// SGLang's `PrefillCudaGraphRunner.__init__` takes them all but for context parallelism, and its `load_batch` pads a
    /// rank's aligned rows to the next of them; only `get_batch_sizes_to_capture`, of decode graphs, filters. With them
    /// ranks are `MAX`, also if one is idle, for which the engine leaves the graph (`_has_inactive_dp_rank`) but not the
    /// mode. `main-2026-11` leaves both then, and where the next size is over twice the longest rank's rows.
    #[serde(default)]
    pub prefill_buckets: Option<Vec<u64>>,
    /// Micro-batches, if steps are split.
    #[serde(default)]
    pub micro: Option<Micro>,
    /// For every count, the real rows of each context-parallel part of its rank, if parts write rows of their own. Without
    /// them the first part writes the whole slot.
    #[serde(default)]
    pub shards: Option<Vec<Vec<u64>>>,
    /// How hidden states travel to the experts; if it is told, so is what they take.
    #[serde(default)]
    pub wire: Option<WireFormat>,
    /// Experts of every row, whose numbers and weights travel with it; none by default.
    #[serde(default)]
    pub experts_per_token: Option<u64>,
    /// Which ranks prefill in a speculative step, and which of its forwards this is; none by default. The step has the
    /// widths itself, so [`coef`](Self::coef) is 1, and [`extend`](Self::extend) follows.
    #[serde(default)]
    pub mixed: Option<MixedStep>,
    /// The back end that brings rows to their experts, if any does.
    #[serde(default)]
    pub all_to_all: Option<AllToAll>,
    /// Groups that the experts are split over. With them a plan tells how what they computed comes back.
    #[serde(default)]
    pub ep: Option<u64>,
    /// The most rows of a rank, if ranks exchange nothing. Then [`raw`](Self::raw) is best the local rank's count
    /// alone; those of all are checked against the bound.
    #[serde(default)]
    pub bound: Option<Bound>,
    /// What ranks told each other, if the plan is to follow from it: votes then need not be given, and
    /// [`graph_buckets`](Self::graph_buckets) are the sizes of whatever graph is agreed on. None by default.
    #[serde(default)]
    pub exchange: Option<Told>,
    /// Whether buffers are allocated in symmetric memory where they may be.
    #[serde(default)]
    pub symmetric: bool,
    /// When an eager forward pads its ranks; by the profile's rules by default.
    #[serde(default)]
    pub padding: Padding,
    /// Bytes of one hidden state; by default 14336, that is 7168 bfloat16 elements.
    #[serde(default = "row_bytes")]
    pub row_bytes: u64,
}

by_name!(Request, "a request, an object such as {\"raw\": [20, 3], \"dp\": 2}");

fn one() -> u64 {
    1
}

fn row_bytes() -> u64 {
    7168 * 2
}

impl Request {
    /// A request for these counts with every other field at its default.
    pub fn new(raw: Vec<u64>, dp: u64) -> Self {
        Self {
            profile: Profile::default(),
            raw,
            dp,
            attn_tp: 1,
            coef: 1,
            coef_lp: None,
            raw_lp: None,
            extend: false,
            cp_align: 1,
            graph_buckets: None,
            graph_ok: false,
            hybrid_idle: false,
            force_max: false,
            elastic_join: false,
            prefill_buckets: None,
            micro: None,
            shards: None,
            wire: None,
            experts_per_token: None,
            mixed: None,
            all_to_all: None,
            ep: None,
            bound: None,
            exchange: None,
            symmetric: false,
            padding: Padding::Rules,
            row_bytes: row_bytes(),
        }
    }

    /// Tokens of every rank: counts times width.
    pub(super) fn scaled(&self) -> Result<Vec<u64>, PlanError> {
        scale("raw", &self.raw, self.coef)
    }

    /// Rows of every rank at the logits stage.
    pub(super) fn logprob(&self) -> Result<Vec<u64>, PlanError> {
        match &self.raw_lp {
            Some(counts) => scale("raw_lp", counts, self.logprob_width()),
            None => scale("raw", &self.raw, self.logprob_width()),
        }
    }

    /// Rows per count at the logits stage.
    pub(super) fn logprob_width(&self) -> u64 {
        self.coef_lp.unwrap_or(self.coef)
    }

    /// Refuses what no plan can be made from. Afterwards no size is over [`MAX_ROWS`], so two of them can be multiplied.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let counts = self.raw.len();
        if counts == 0 {
            return Err(PlanError::NoCounts);
        }
        check_ranks("dp", self.dp)?;
        let sizes = [
            ("attn_tp", self.attn_tp),
            ("coef", self.coef),
            ("coef_lp", self.logprob_width()),
            ("cp_align", self.cp_align),
            ("row_bytes", self.row_bytes),
        ];
        let buckets = |field, sizes: &Option<Vec<u64>>| {
            let sizes = sizes.as_deref().unwrap_or_default();
            match sizes.len() {
                0..=MAX_SIZES => sizes.iter().try_for_each(|&size| check_size(field, size)),
                sizes => Err(PlanError::TooManySizes { field, sizes }),
            }
        };
        sizes
            .into_iter()
            .try_for_each(|(field, size)| check_size(field, size))?;
        buckets("graph_buckets", &self.graph_buckets)?;
        buckets("prefill_buckets", &self.prefill_buckets)?;
        if counts != 1 && counts as u64 != self.dp {
            return Err(PlanError::WrongNumberOfCounts { counts, dp: self.dp });
        }
        if self.logprob_width() > self.coef {
            return Err(PlanError::MoreLogitsThanTokens {
                tokens: self.coef,
                logprob: self.logprob_width(),
            });
        }
        if let Some(bound) = &self.bound {
            bound.check()?;
            self.check_agreed()?;
            if !bound.rows.is_multiple_of(self.attn_tp) {
                return Err(BoundError::Uneven {
                    rows: bound.rows,
                    attention_tp: self.attn_tp,
                }
                .into());
            }
        }
        if let (Some(back_end), Some(format)) = (&self.all_to_all, self.wire) {
            back_end.check_wire(format)?;
        }
        if let Some(groups) = self.ep {
            check_ranks("ep", groups)?;
        }
        if self.extend && self.graph_ok {
            return Err(PlanError::ExtendInGraph);
        }
        if self.cp_align > 1 && self.profile > Profile::Main202609 {
            return Err(PlanError::NoContextAlignment {
                profile: self.profile,
                multiple: self.cp_align,
            });
        }
        match &self.raw_lp {
            Some(logprob) if logprob.len() != counts => Err(PlanError::WrongNumberOfLogprobCounts {
                counts,
                logprob: logprob.len(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses what ranks without an exchange cannot agree on.
    fn check_agreed(&self) -> Result<(), BoundError> {
        let agreed = [
            ("micro", self.micro.is_some()),
            ("mixed", self.mixed.is_some()),
            ("exchange", self.exchange.is_some()),
            ("prefill_buckets", self.prefill_buckets.is_some()),
            ("elastic_join", self.elastic_join),
            ("padding", self.padding == Padding::WhenNeeded),
        ];
        match agreed.into_iter().find(|&(_, is_set)| is_set) {
            Some((field, _)) => Err(BoundError::Agreed { field }),
            None => Ok(()),
        }
    }

    /// The same with the counts of its phase and without shards, if it has phases.
    pub(crate) fn of_one_width(self) -> Result<Self, PlanError> {
        match (&self.mixed, &self.exchange) {
            (None, _) => Ok(self),
            (Some(mixed), None) => Ok(mixed.resolve(&self)?.0),
            (Some(mixed), Some(exchange)) => {
                let (voted, _) = exchange.resolve(&self)?;
                Ok(mixed.resolve(&voted)?.0)
            }
        }
    }

    /// The same with other counts, without exchange, phases and shards, whose lists are long and not copied.
    pub(super) fn with_counts(&self, raw: Vec<u64>, raw_lp: Option<Vec<u64>>) -> Self {
        // Every field is named, so that none that comes is forgotten.
        let Self {
            raw: _,
            raw_lp: _,
            mixed: _,
            shards: _,
            exchange: _,
            profile,
            dp,
            attn_tp,
            coef,
            coef_lp,
            extend,
            cp_align,
            graph_buckets,
            graph_ok,
            hybrid_idle,
            force_max,
            elastic_join,
            prefill_buckets,
            micro,
            wire,
            experts_per_token,
            all_to_all,
            ep,
            bound,
            symmetric,
            padding,
            row_bytes,
        } = self;
        Self {
            raw,
            raw_lp,
            mixed: None,
            shards: None,
            exchange: None,
            profile: *profile,
            dp: *dp,
            attn_tp: *attn_tp,
            coef: *coef,
            coef_lp: *coef_lp,
            extend: *extend,
            cp_align: *cp_align,
            graph_buckets: graph_buckets.clone(),
            graph_ok: *graph_ok,
            hybrid_idle: *hybrid_idle,
            force_max: *force_max,
            elastic_join: *elastic_join,
            prefill_buckets: prefill_buckets.clone(),
            micro: micro.clone(),
            wire: *wire,
            experts_per_token: *experts_per_token,
            all_to_all: *all_to_all,
            ep: *ep,
            bound: *bound,
            symmetric: *symmetric,
            padding: *padding,
            row_bytes: *row_bytes,
        }
    }

    /// How SGLang returns what so many groups of experts computed. Before November 2026 a reduce-scatter had a switch,
    /// and was off by default.
    pub(super) fn expert_combine(&self, groups: u64) -> Result<ExpertCombine, PlanError> {
        let topology = Topology::of_ranks(self.dp, self.attn_tp)?;
        if self.wire == Some(WireFormat::Nvfp4) {
            // The 4-bit path has a reduce-scatter of its own, in bfloat16.
            return match groups == self.dp {
                true => Ok(ExpertCombine::ReduceScatter),
                false => Err(WireError::ExpertGroups { groups, dp: self.dp }.into()),
            };
        }
        Ok(match self.profile >= Profile::Main202611 {
            true => expert_combine(&topology, groups, false, false),
            false => ExpertCombine::AllReduce,
        })
    }
}

/// Refuses 0, and more than [`MAX_ROWS`].
pub(crate) fn check_size(field: &'static str, value: u64) -> Result<(), PlanError> {
    match value {
        0 => Err(PlanError::Zero { field }),
        1..=MAX_ROWS => Ok(()),
        _ => Err(PlanError::TooLarge { field, value }),
    }
}

fn scale(field: &'static str, counts: &[u64], width: u64) -> Result<Vec<u64>, PlanError> {
    let scaled = |(rank, &count): (usize, &u64)| scale_one(field, rank, count, width);
    counts.iter().enumerate().map(scaled).collect()
}

/// Rows of one rank.
pub(super) fn scale_one(field: &'static str, rank: usize, count: u64, width: u64) -> Result<u64, PlanError> {
    let rows = count.checked_mul(width).filter(|&rows| rows <= MAX_ROWS);
    rows.ok_or(PlanError::CountTooLarge {
        field,
        rank,
        count,
        width,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_RANKS, Plan};
    use super::*;

    fn refused(request: Request) -> PlanError {
        Plan::new(&request).unwrap_err()
    }

    #[test]
    fn fields_left_out_have_their_defaults() {
        let request: Request = serde_json::from_str(r#"{"raw": [1, 2], "dp": 2}"#).unwrap();
        assert_eq!(request, Request::new(vec![1, 2], 2));
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
    }

    #[test]
    fn every_rank_is_scaled_by_one_width() {
        let request = Request {
            coef: 6,
            coef_lp: Some(2),
            ..Request::new(vec![1, 3, 0, 2], 4)
        };
        assert_eq!(request.scaled(), Ok(vec![6, 18, 0, 12]));
        assert_eq!(request.logprob(), Ok(vec![2, 6, 0, 4]));
    }

    #[test]
    fn an_unknown_field_is_told_the_valid_ones() {
        let error = serde_json::from_str::<Request>(r#"{"raw": [1], "dp": 1, "tp": 8}"#).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("unknown field `tp`, expected one of `profile`, `raw`, `dp`"));
        assert!(error.contains("`row_bytes`"), "{error}");
    }

    #[test]
    fn sizes_of_zero_are_refused_by_name() {
        let base = || Request::new(vec![4, 4], 2);
        for (request, field) in [
            (Request { dp: 0, ..base() }, "dp"),
            (Request { attn_tp: 0, ..base() }, "attn_tp"),
            (Request { coef: 0, ..base() }, "coef"),
            (
                Request {
                    coef_lp: Some(0),
                    ..base()
                },
                "coef_lp",
            ),
            (Request { cp_align: 0, ..base() }, "cp_align"),
            (Request { row_bytes: 0, ..base() }, "row_bytes"),
            (
                Request {
                    graph_buckets: Some(vec![8, 0]),
                    ..base()
                },
                "graph_buckets",
            ),
        ] {
            assert_eq!(refused(request), PlanError::Zero { field });
        }
    }

    #[test]
    fn counts_have_to_match_the_ranks() {
        assert_eq!(refused(Request::new(vec![], 2)), PlanError::NoCounts);
        assert_eq!(
            refused(Request::new(vec![1, 2, 3], 2)),
            PlanError::WrongNumberOfCounts { counts: 3, dp: 2 }
        );
        let request = Request {
            raw_lp: Some(vec![1]),
            ..Request::new(vec![1, 2], 2)
        };
        assert_eq!(
            refused(request),
            PlanError::WrongNumberOfLogprobCounts { counts: 2, logprob: 1 }
        );
    }

    #[test]
    fn ranks_and_captured_sizes_are_no_more_than_the_most() {
        let most = Request::new(vec![1; MAX_RANKS as usize], MAX_RANKS);
        assert_eq!(Plan::new(&most).unwrap().layout().rows(), MAX_RANKS);
        for ranks in [MAX_RANKS + 1, 1_000_000_000, u64::MAX] {
            let field = "dp";
            assert_eq!(
                refused(Request::new(vec![1], ranks)),
                PlanError::TooManyRanks { field, ranks }
            );
        }
        let sizes = |sizes: usize| Some(vec![1; sizes]);
        for field in ["graph_buckets", "prefill_buckets"] {
            let request = |sizes| match field {
                "graph_buckets" => Request {
                    graph_buckets: sizes,
                    ..Request::new(vec![1], 1)
                },
                _ => Request {
                    prefill_buckets: sizes,
                    ..Request::new(vec![1], 1)
                },
            };
            assert!(Plan::new(&request(sizes(MAX_SIZES))).is_ok());
            assert_eq!(
                refused(request(sizes(MAX_SIZES + 1))),
                PlanError::TooManySizes {
                    field,
                    sizes: MAX_SIZES + 1
                }
            );
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let wide = |coef, coef_lp| Request {
            coef,
            coef_lp: Some(coef_lp),
            ..Request::new(vec![5], 1)
        };
        assert!(Plan::new(&wide(4, 4)).is_ok());
        assert_eq!(
            refused(wide(4, 5)),
            PlanError::MoreLogitsThanTokens { tokens: 4, logprob: 5 }
        );
        let voted = Request {
            extend: true,
            graph_ok: true,
            ..Request::new(vec![5], 1)
        };
        assert_eq!(refused(voted), PlanError::ExtendInGraph);
    }

    #[test]
    fn a_request_is_no_list_of_its_fields() {
        let list = r#"["main-2026-09", [1], 1, 1, 1, null, null, false, 1, null, false, false, false, false, null, null, null, null, null, 2]"#;
        let error = serde_json::from_str::<Request>(list).unwrap_err().to_string();
        assert!(
            error.starts_with("invalid type: sequence, expected a request, an object"),
            "{error}"
        );
    }

    #[test]
    fn counts_near_32_bits_are_errors_and_never_wrap() {
        for profile in Profile::ALL {
            let request = |raw: &[u64], coef| Request {
                profile,
                coef,
                ..Request::new(raw.to_vec(), raw.len() as u64)
            };
            for count in [MAX_ROWS + 1, u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX] {
                assert_eq!(
                    refused(request(&[0, count], 1)),
                    PlanError::CountTooLarge {
                        field: "raw",
                        rank: 1,
                        count,
                        width: 1
                    }
                );
            }
            assert!(matches!(
                refused(request(&[MAX_ROWS / 4 + 1], 4)),
                PlanError::CountTooLarge { width: 4, .. }
            ));
            assert_eq!(Plan::new(&request(&[MAX_ROWS], 1)).unwrap().layout().rows(), MAX_ROWS);
            // Every rank alone is small enough, all together are not.
            assert!(matches!(
                refused(request(&[MAX_ROWS, MAX_ROWS], 1)),
                PlanError::TooManyRows { ranks: 2, .. }
            ));
        }
        // Alignment takes the last rows over the limit.
        let request = Request {
            attn_tp: 8,
            ..Request::new(vec![MAX_ROWS], 1)
        };
        assert!(matches!(refused(request), PlanError::TooManyRows { ranks: 1, .. }));
        let request = Request {
            attn_tp: MAX_ROWS + 1,
            ..Request::new(vec![1], 1)
        };
        assert!(matches!(refused(request), PlanError::TooLarge { field: "attn_tp", .. }));
    }
}
