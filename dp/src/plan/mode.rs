//! How an eager forward pads its ranks, and why.
//!
//! All-gathering a `MAX` buffer moves the longest rank's rows once for every rank, all-reducing a `SUM` buffer moves every
//! row about twice; from pull request 8280 on the cheaper is taken, with exceptions that came later.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::exchange::Rows;
use super::{MAX_ROWS, PlanError, PrefillGraph, Profile, Request};
use crate::layout::{GatheredLayout, HiddenState, PaddingMode};

/// When an eager forward pads its ranks. A graph runs what was captured in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// By the profile's rules.
    #[default]
    Rules,
    /// Never, unless the experts' back end needs it: uneven ranks have their true sizes, equal ones none.
    WhenNeeded,
    /// To the longest rank, because the transport is slow or wrong with uneven sizes.
    Always,
}

impl Padding {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Rules, Self::WhenNeeded, Self::Always];

    /// The name in requests and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::WhenNeeded => "when_needed",
            Self::Always => "always",
        }
    }
}

/// Why a plan has the padding mode that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeReason {
    /// The profile knows `SUM` only (before pull request 8280).
    OnlyMode,
    /// The graph was captured with equal ranks (from pull request 8280 on).
    Captured,
    /// Whichever moves fewer rows.
    Cost {
        /// Rows that an all-gather moves.
        gathered: u64,
        /// Rows that an all-reduce moves.
        reduced: u64,
    },
    /// A rank prefills, which would pad all others to its length (from pull request 10414 on).
    Extend,
    /// The back end of the experts needs equal ranks.
    Forced,
    /// A rank without tokens joins the prefill of a hybrid model.
    HybridIdle,
    /// A rank that just joined has no all-gather yet.
    ElasticJoin,
    /// A captured prefill graph holds the longest rank.
    PrefillGraph {
        /// Rows of the longest rank.
        longest: u64,
        /// The longest prompt captured.
        largest: u64,
    },
    /// Some ranks prefill and others verify drafts, each with a width of its own.
    Phases,
    /// Ranks exchange nothing, so every one has the bound's rows.
    Bound {
        /// The bound.
        rows: u64,
    },
    /// Ranks told each other what they need, and all run as many rows.
    Agreed {
        /// Rows of every rank.
        rows: u64,
    },
    /// Ranks are equal as they are.
    Equal,
    /// Ranks are uneven and nothing needs them equal.
    TrueSizes,
    /// All ranks are padded as asked.
    AlwaysPadded,
}

impl fmt::Display for ModeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyMode => f.write_str("this version has no other mode"),
            Self::Captured => f.write_str("the graph was captured with equal ranks"),
            Self::Cost { gathered, reduced } => {
                let relation = match reduced.cmp(gathered) {
                    std::cmp::Ordering::Less => "more than",
                    std::cmp::Ordering::Equal => "as many as",
                    std::cmp::Ordering::Greater => "fewer than",
                };
                write!(
                    f,
                    "an all-gather of equal ranks would move {gathered} rows, {relation} the {reduced} of an all-reduce"
                )
            }
            Self::Extend => f.write_str("a rank prefills, and the others are not padded to its length"),
            Self::Forced => f.write_str("the all-to-all back end needs equal ranks"),
            Self::HybridIdle => f.write_str("a rank without tokens joins the prefill of a hybrid model"),
            Self::ElasticJoin => f.write_str("a rank is just joining, and an all-reduce works without it"),
            Self::Phases => f.write_str("some ranks prefill and others draft, so counts are each rank's own"),
            Self::Bound { rows } => write!(
                f,
                "ranks exchange nothing, and a bound of {rows} rows is the one size that all know"
            ),
            Self::Agreed { rows } => write!(f, "ranks agreed on {rows} rows each"),
            Self::Equal => f.write_str("ranks are equal without padding, so a plain collective serves"),
            Self::TrueSizes => {
                f.write_str("no graph was agreed on and the collectives take sizes, so nobody is padded to the longest")
            }
            Self::AlwaysPadded => f.write_str("the transport is slow or wrong with uneven sizes"),
            Self::PrefillGraph { longest, largest } => write!(
                f,
                "all ranks voted for a prefill graph, and the longest rank's {longest} rows fit the {largest} captured"
            ),
        }
    }
}

/// What each rank's rows become a multiple of. Context parallelism splits what attention TP has split, and the multiple
/// serves both: SGLang aligns to one and then to the other, which can lose the first.
pub(super) fn alignment(request: &Request) -> u64 {
    match request.profile {
        Profile::Base8277 | Profile::Pr8277 => 1,
        profile if profile.aligns_to_context() => least_common_multiple(request.attn_tp, request.cp_align),
        _ => request.attn_tp,
    }
}

fn least_common_multiple(one: u64, other: u64) -> u64 {
    let (mut a, mut b) = (one, other);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    one / a * other
}

/// The mode of an eager forward, from the tokens of every rank. `is_mixed` says that some prefill while others draft, and
/// `prefill` what became of the prefill graph.
pub(super) fn choose(
    request: &Request,
    scaled: &[u64],
    is_mixed: bool,
    prefill: Option<&PrefillGraph>,
) -> Result<(PaddingMode, ModeReason), PlanError> {
    let profile = request.profile;
    if profile < Profile::Pr8280 && request.padding == Padding::Rules {
        return Ok((PaddingMode::Sum, ModeReason::OnlyMode));
    }
    let alignment = alignment(request);
    let (mut sum, mut longest, mut idle) = (0, 0, false);
    for &count in scaled {
        let rows = count.next_multiple_of(alignment);
        sum += rows;
        longest = longest.max(rows);
        idle |= rows == 0;
        // No layout of these counts is possible; stopping here keeps the numbers below within 64 bits.
        if sum > MAX_ROWS {
            return Err(too_many_rows(scaled.len()));
        }
    }

    let even = scaled.iter().all(|count| count.next_multiple_of(alignment) == longest);
    let newest = profile >= Profile::Main202609;
    let forced = newest && (request.force_max || request.all_to_all.is_some_and(|back_end| back_end.forces_max()));
    if is_mixed && !forced {
        return Ok((PaddingMode::Sum, ModeReason::Phases));
    }
    let prefills = match profile {
        Profile::Pr10414 => request.extend,
        _ => request.extend && profile > Profile::Pr10414 && request.dp > 1,
    };
    let (mode, reason) = if forced {
        (PaddingMode::Max, ModeReason::Forced)
    } else if request.padding == Padding::Always {
        (PaddingMode::Max, ModeReason::AlwaysPadded)
    } else if request.padding == Padding::WhenNeeded {
        match even {
            true => (PaddingMode::Max, ModeReason::Equal),
            false => (PaddingMode::Sum, ModeReason::TrueSizes),
        }
    } else if newest && prefills && request.hybrid_idle && idle {
        (PaddingMode::Max, ModeReason::HybridIdle)
    } else if prefills {
        (PaddingMode::Sum, ModeReason::Extend)
    } else {
        by_cost(profile, longest * request.dp, 2 * sum)
    };

    if !newest {
        return Ok((mode, reason));
    }
    // From November 2026 on, an elastic world that would be MAX keeps its counts only where they are uneven.
    let conditional = profile >= Profile::Main202611;
    let keeps_counts = !conditional || (mode == PaddingMode::Max && scaled.len() > 1 && !even);
    Ok(match prefill.and_then(|graph| graph.equals_ranks(request, longest)) {
        Some((longest, largest)) => (PaddingMode::Max, ModeReason::PrefillGraph { longest, largest }),
        _ if request.elastic_join && keeps_counts => (PaddingMode::Sum, ModeReason::ElasticJoin),
        _ => (mode, reason),
    })
}

/// The buffer of ranks that agreed on their rows.
pub(super) fn agreed(
    rows: &Rows,
    tokens: Vec<u64>,
    hidden: HiddenState,
) -> Result<(ModeReason, GatheredLayout), PlanError> {
    let ranks = tokens.len();
    Ok(match rows {
        &Rows::Equal { rows, .. } => {
            let all = rows.checked_mul(ranks as u64).filter(|&all| all <= MAX_ROWS);
            let all = all.ok_or_else(|| too_many_rows(ranks))?;
            let layout = GatheredLayout::fixed_of(PaddingMode::Max, tokens, all, hidden)?;
            (ModeReason::Agreed { rows }, layout)
        }
        Rows::True(rows) => {
            if rows.iter().fold(0, |sum: u64, &rows| sum.saturating_add(rows)) > MAX_ROWS {
                return Err(too_many_rows(ranks));
            }
            (
                ModeReason::TrueSizes,
                GatheredLayout::packed(tokens, rows.clone(), hidden)?,
            )
        }
    })
}

/// A tie is `SUM` up to pull request 20406 and `MAX` from it on.
fn by_cost(profile: Profile, gathered: u64, reduced: u64) -> (PaddingMode, ModeReason) {
    let tie = profile >= Profile::Pr20406 && reduced == gathered;
    let mode = if reduced > gathered || tie {
        PaddingMode::Max
    } else {
        PaddingMode::Sum
    };
    (mode, ModeReason::Cost { gathered, reduced })
}

pub(super) fn too_many_rows(ranks: usize) -> PlanError {
    PlanError::TooManyRows {
        buffer: "gathered buffer",
        ranks,
    }
}

#[cfg(test)]
mod tests {
    use super::super::AllToAll;
    use super::*;
    use PaddingMode::{Max, Sum};

    fn request(profile: Profile, raw: &[u64], extend: bool) -> Request {
        Request {
            profile,
            extend,
            ..Request::new(raw.to_vec(), raw.len() as u64)
        }
    }

    fn chosen(request: &Request) -> (PaddingMode, ModeReason) {
        let prefill = PrefillGraph::of(request, &request.raw, false, request.shards.is_some());
        choose(request, &request.raw, false, prefill.as_ref()).unwrap()
    }

    fn mode(request: &Request) -> PaddingMode {
        chosen(request).0
    }

    /// The mode under every profile, oldest first.
    fn modes(raw: &[u64], extend: bool) -> [PaddingMode; 8] {
        Profile::ALL.map(|profile| mode(&request(profile, raw, extend)))
    }

    #[test]
    fn the_cheaper_mode_is_taken_from_8280_on() {
        assert_eq!(modes(&[20; 8], false), [Sum, Sum, Max, Max, Max, Max, Max, Max]);
        assert_eq!(modes(&[100, 0, 0, 0], false), [Sum; 8]);
    }

    #[test]
    fn a_tie_turned_from_sum_to_max() {
        assert_eq!(modes(&[8, 0], false), [Sum, Sum, Sum, Sum, Sum, Max, Max, Max]);
    }

    #[test]
    fn all_idle_ranks_are_a_tie() {
        assert_eq!(modes(&[0, 0, 0], false), [Sum, Sum, Sum, Sum, Sum, Max, Max, Max]);
        assert_eq!(modes(&[0], false), [Sum, Sum, Sum, Sum, Sum, Max, Max, Max]);
    }

    #[test]
    fn a_single_rank_that_prefills_was_sum_in_one_version_only() {
        assert_eq!(modes(&[20], true), [Sum, Sum, Max, Max, Sum, Max, Max, Max]);
        assert_eq!(modes(&[20; 2], true), [Sum, Sum, Max, Max, Sum, Sum, Sum, Sum]);
    }

    #[test]
    fn the_local_count_alone_is_compared_with_all_ranks() {
        for (dp, expected) in [
            (2, [Sum, Sum, Sum, Sum, Sum, Max, Max, Max]),
            (3, [Sum, Sum, Sum, Sum, Sum, Sum, Sum, Sum]),
        ] {
            let found = Profile::ALL.map(|profile| {
                mode(&Request {
                    dp,
                    ..request(profile, &[13], false)
                })
            });
            assert_eq!(found, expected, "dp {dp}");
        }
    }

    #[test]
    fn exceptions_are_the_newest_versions_alone() {
        for profile in Profile::ALL {
            let newest = profile >= Profile::Main202609;
            let base = |raw: &[u64]| request(profile, raw, true);
            let reason = |request: Request| chosen(&request);
            let forced = Request {
                force_max: true,
                ..base(&[9, 0])
            };
            assert_eq!(reason(forced) == (Max, ModeReason::Forced), newest);
            let hybrid = |raw| Request {
                hybrid_idle: true,
                ..base(raw)
            };
            assert_eq!(reason(hybrid(&[9, 0])) == (Max, ModeReason::HybridIdle), newest);
            assert_ne!(reason(hybrid(&[9, 1])).1, ModeReason::HybridIdle);
            let joining = Request {
                elastic_join: true,
                force_max: true,
                ..base(&[9, 9])
            };
            // November 2026 keeps the counts of an elastic world only where they are uneven.
            let kept = profile == Profile::Main202609;
            assert_eq!(reason(joining) == (Sum, ModeReason::ElasticJoin), kept);
            let captured = |largest| Request {
                prefill_buckets: Some(vec![4, largest]),
                ..base(&[9, 1, 1])
            };
            let expected = ModeReason::PrefillGraph { longest: 9, largest: 9 };
            assert_eq!(reason(captured(9)) == (Max, expected), newest);
            assert_eq!(reason(captured(8)).0, Sum);
        }
    }

    #[test]
    fn d15_and_d16_an_elastic_world_keeps_uneven_counts_alone() {
        let elastic = |raw: &[u64], elastic_join| {
            mode(&Request {
                elastic_join,
                ..request(Profile::Main202611, raw, false)
            })
        };
        assert_eq!(elastic(&[8, 3], true), Sum);
        assert_eq!(elastic(&[8, 3], false), Max);
        assert_eq!(elastic(&[8, 8], true), Max);
        assert_eq!(elastic(&[8], true), Max);
    }

    #[test]
    fn section_9_an_idle_rank_refuses_the_prefill_graph_of_all() {
        let captured = |profile, raw: &[u64]| {
            mode(&Request {
                prefill_buckets: Some(vec![4, 16]),
                ..request(profile, raw, true)
            })
        };
        assert_eq!(captured(Profile::Main202609, &[9, 0]), Max);
        assert_eq!(captured(Profile::Main202611, &[9, 0]), Sum);
        assert_eq!(captured(Profile::Main202611, &[9, 1]), Max);
    }

    /// sgl-project/sglang, python/sglang/srt/model_executor/forward_batch_info.py, `prefill_graph_tolerates_sum_len`.
    #[test]
    fn section_9_a_back_end_whose_graph_holds_no_collective_tolerates_sum_and_idle_ranks() {
        let request = |all_to_all, shards, raw: &[u64]| Request {
            prefill_buckets: Some(vec![4, 16]),
            all_to_all,
            shards,
            ..request(Profile::Main202611, raw, true)
        };
        let mega = Some(AllToAll::MegaMoe {});
        let runs = |request: &Request| match PrefillGraph::of(request, &request.raw, false, request.shards.is_some()) {
            Some(PrefillGraph::Runs { tolerates_sum, .. }) => Some(tolerates_sum),
            _ => None,
        };
        for raw in [&[9, 0][..], &[9, 1]] {
            let tolerant = request(mega, None, raw);
            assert_eq!(
                (chosen(&tolerant), runs(&tolerant)),
                ((Sum, ModeReason::Extend), Some(true))
            );
        }
        // Context-parallel parts are gathered, so that sizes have to be equal again.
        let parts = Some(vec![vec![5, 4], vec![1, 0]]);
        assert_eq!(runs(&request(mega, parts.clone(), &[9, 1])), Some(false));
        assert_eq!(mode(&request(mega, parts, &[9, 1])), Max);
        assert_eq!(
            runs(&request(Some(AllToAll::DeepEp { force_max: false }), None, &[9, 0])),
            None
        );
    }

    #[test]
    fn section_9_alignment_is_to_attention_tp_alone() {
        let request = Request {
            profile: Profile::Main202611,
            attn_tp: 8,
            cp_align: 6,
            ..Request::new(vec![5], 1)
        };
        assert_eq!(alignment(&request), 8);
        let error = super::super::Plan::new(&request).unwrap_err().to_string();
        assert!(
            error.starts_with("`cp_align` is 6 and `main-2026-11` aligns to attention TP alone"),
            "{error}"
        );
    }

    #[test]
    fn section_1_3_x17_a_prefill_graph_of_over_twice_the_rows_is_refused() {
        let chosen = |tokens| {
            chosen(&Request {
                prefill_buckets: Some(vec![64, 16]),
                ..request(Profile::Main202611, &[tokens, tokens], true)
            })
        };
        let graph = |longest| (Max, ModeReason::PrefillGraph { longest, largest: 64 });
        assert_eq!(chosen(5), (Sum, ModeReason::Extend));
        assert_eq!(chosen(8), graph(8));
        // Of several sizes the next decides.
        assert_eq!(chosen(17), (Sum, ModeReason::Extend));
        assert_eq!(chosen(32), graph(32));
    }

    #[test]
    fn prefill_sizes_serve_whether_attention_tp_divides_them_or_not() {
        let request = |largest| Request {
            attn_tp: 8,
            prefill_buckets: Some(vec![4, 12, 20, largest]),
            ..request(Profile::Main202609, &[20, 3], true)
        };
        let fits = |largest| ModeReason::PrefillGraph { longest: 24, largest };
        for largest in [24, 25, 28] {
            assert_eq!(chosen(&request(largest)), (Max, fits(largest)));
        }
        assert_eq!(chosen(&request(23)), (Sum, ModeReason::Extend));
    }

    #[test]
    fn alignment_serves_attention_and_context_parallelism_alike() {
        let alignment = |attn_tp, cp_align| {
            alignment(&Request {
                profile: Profile::Main202609,
                attn_tp,
                cp_align,
                ..Request::new(vec![5], 1)
            })
        };
        assert_eq!(alignment(1, 1), 1);
        assert_eq!(alignment(2, 4), 4);
        assert_eq!(alignment(8, 6), 24);
        assert_eq!(alignment(MAX_ROWS, MAX_ROWS - 1), MAX_ROWS * (MAX_ROWS - 1));
    }

    #[test]
    fn an_alignment_of_one_changes_nothing() {
        for raw in [vec![7, 0, 13, 1], vec![1], vec![0, 0]] {
            for profile in Profile::ALL {
                let plan = super::super::Plan::new(&request(profile, &raw, false)).unwrap();
                assert_eq!(plan.layout().aligned().collect::<Vec<_>>(), raw);
            }
        }
    }
}
