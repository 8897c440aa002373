//! How a rank's own tensors are padded to what was planned for it.
//!
//! The gathered buffer decides how many rows a rank computes; its ids, positions and lengths have to follow, or attention
//! would see rows that its metadata does not describe. Padding always goes to the end of an axis.

use super::{Execution, ForwardMode, Own, Phase, Plan, PlanError, Profile};
use crate::layout::PaddingMode;

/// What a rank's batch becomes for one forward.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchPlan {
    /// What the rank runs, which may not be what it asked to run: from pull request 9136 on, decode inside a padded prefill
    /// step runs as extend, with one token per request.
    pub forward: ForwardMode,
    /// Token rows.
    pub rows: u64,
    /// Requests.
    pub requests: u64,
    /// Whether the rank has no request and runs a made-up one, of all its rows, so that the experts' all-to-all is not
    /// starved. From `main-2026-09` on.
    pub is_dummy: bool,
    /// Rows that count as tokens (SGLang: `num_token_non_padded`); the experts' choice of the others is masked. All rows of
    /// a made-up request count in `main-2026-09`; in `main-2026-11` those of a hybrid model alone.
    pub real_rows: u64,
    /// Rows of logits and of hidden states that belong to requests: the first of what the forward leaves. The rest is cut off
    /// after it; of a prefill, whose rows the logits stage picks, nothing.
    pub kept: u64,
    /// What the sum of sequence lengths grows by, which pull request 8280 leaves as it was.
    pub sequence_lengths_added: u64,
    /// The tensors that are padded, those of them that the batch has. Empty where nothing is.
    pub tensors: Vec<TensorPadding>,
}

/// How one tensor of a batch is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorPadding {
    /// Its name in SGLang.
    pub tensor: &'static str,
    /// The axis that is padded.
    pub axis: usize,
    /// The extent of that axis afterwards.
    pub length: u64,
    /// What the new elements are.
    pub fill: Fill,
}

/// What padding consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fill {
    /// A number. Slot 0 of the KV cache is where padding writes, and a padded sequence has length 1.
    Value(i64),
    /// Python's `None`.
    Nothing,
    /// Whatever an earlier replay of the graph left there.
    Stale,
}

/// What a tensor of a batch has an element for.
#[derive(Clone, Copy)]
enum Per {
    Row,
    Request,
}

impl Plan {
    /// How the batch of a rank is padded: what `forward` it is about to run, of how many `requests`.
    ///
    /// ```
    /// use tilewright_dp::plan::{Fill, ForwardMode, Plan, Request};
    ///
    /// let plan = Plan::new(&Request::new(vec![8, 5], 2))?;
    /// let batch = plan.batch(1, ForwardMode::Decode, 5)?;
    /// assert_eq!((batch.rows, batch.requests), (8, 8));
    /// let lengths = batch.tensors.iter().find(|padding| padding.tensor == "seq_lens").unwrap();
    /// assert_eq!((lengths.length, lengths.fill), (8, Fill::Value(1)));
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// There is no such rank, it was planned with fewer rows than the requests need, or it prefills and a decode graph was
    /// planned.
    pub fn batch(&self, rank: u64, forward: ForwardMode, requests: u64) -> Result<BatchPlan, PlanError> {
        let slot = self.slot(rank)?;
        let rows = self.graph().map_or(slot.rows, |graph| graph.attention_rows);
        if self.graph().is_some() && forward.is_extend() {
            return Err(PlanError::PrefillInGraph { rank, forward });
        }
        // The width is a request's tokens; a prompt has at least one.
        let width = if forward.is_extend() { 1 } else { self.width };
        if requests.checked_mul(width).is_none_or(|needed| needed > rows) {
            return Err(PlanError::BatchTooLarge { rank, requests, rows });
        }
        let batch = match &self.execution {
            Execution::Graph(graph) => replayed(forward, rows, graph.bucket, requests),
            Execution::Eager(_) => self.eager_batch(forward, rows, requests),
        };
        // Of a plan from a bound the slots are full.
        let own = self.bound.as_ref().and_then(|bound| bound.own);
        let fabricates = self.hybrid || self.profile == Profile::Main202609;
        Ok(BatchPlan {
            real_rows: match batch.is_dummy && fabricates {
                true => rows,
                false => own.map_or(slot.tokens, Own::get),
            },
            kept: self.kept(forward, rows, requests),
            ..batch
        })
    }

    /// Whether ranks with requests verify drafts, and are padded to the longest. The draft model's own forwards have
    /// several tokens per request too, and an idle rank stays idle in them (`spec_info.is_draft_input()` upstream). A request
    /// without phases that has several tokens for each count is taken as a verification.
    fn verifies_padded(&self) -> bool {
        let newest = self.profile >= Profile::Main202611;
        let verifies = self.phase().is_none_or(|phase| phase.phase == Phase::Target);
        newest && verifies && !self.extend && self.width > 1 && self.mode() == PaddingMode::Max
    }

    fn kept(&self, forward: ForwardMode, rows: u64, requests: u64) -> u64 {
        use ForwardMode::{Decode, DraftDecode, DraftExtend, Extend, Idle, Mixed, TargetVerify};
        match forward {
            // Nothing was cut before there was padding in all modes.
            _ if self.profile < Profile::Pr8280 => rows,
            Extend | Mixed => rows,
            Decode | Idle => requests,
            // One row for each request, until all drafts had one width.
            DraftExtend if self.profile < Profile::Main202609 => requests,
            DraftDecode | TargetVerify | DraftExtend => requests * self.width,
        }
    }

    fn eager_batch(&self, forward: ForwardMode, rows: u64, requests: u64) -> BatchPlan {
        use ForwardMode::{Decode, DraftDecode, DraftExtend, Extend, Idle, TargetVerify};

        let profile = self.profile;
        let unchanged = BatchPlan {
            forward,
            rows,
            requests,
            is_dummy: false,
            real_rows: 0,
            kept: rows,
            sequence_lengths_added: 0,
            tensors: Vec::new(),
        };
        match profile {
            Profile::Base8277 => return unchanged,
            Profile::Pr8277 => {
                let tensors = match forward {
                    DraftExtend => ROWS_OF_TOKENS
                        .map(|tensor| per(Per::Row, tensor, 0, &unchanged))
                        .to_vec(),
                    _ => Vec::new(),
                };
                return BatchPlan { tensors, ..unchanged };
            }
            _ => {}
        }

        let newest = profile >= Profile::Main202609;
        let padded_prefill = self.extend && self.mode() == PaddingMode::Max && profile >= Profile::Pr9136;
        let mut batch = match forward {
            Idle | Decode if padded_prefill && newest && requests == 0 && rows > 0 => BatchPlan {
                forward: Extend,
                requests: 1,
                is_dummy: true,
                ..unchanged
            },
            // A hybrid's state is computed from whole requests.
            Idle if self.hybrid && self.verifies_padded() && requests == 0 && rows >= self.width => BatchPlan {
                forward: TargetVerify,
                requests: rows / self.width,
                is_dummy: true,
                ..unchanged
            },
            Idle | Decode if padded_prefill => BatchPlan {
                forward: Extend,
                ..unchanged
            },
            // Requests are padded with their tokens (pull requests 8723 and 9136).
            Decode | DraftDecode if profile >= Profile::Pr9136 => BatchPlan {
                requests: rows / self.width,
                ..unchanged
            },
            Idle | TargetVerify | DraftExtend if newest => BatchPlan {
                requests: rows / self.width,
                ..unchanged
            },
            _ => unchanged,
        };
        // A made-up request is one sequence of all rows; a padded one has length 1.
        let sequence = if batch.is_dummy && batch.forward == Extend {
            rows
        } else {
            1
        };
        if profile >= Profile::Pr9136 {
            batch.sequence_lengths_added = (batch.requests - requests) * sequence;
        }
        batch.tensors = tensors(profile, forward, sequence as i64, &batch);
        batch
    }
}

/// The tensors with a row for every token that every version pads, if it pads at all.
const ROWS_OF_TOKENS: [&str; 4] = ["input_ids", "out_cache_loc", "positions", "hidden_states"];

fn per(what: Per, tensor: &'static str, value: i64, batch: &BatchPlan) -> TensorPadding {
    let length = match what {
        Per::Row => batch.rows,
        Per::Request => batch.requests,
    };
    TensorPadding {
        tensor,
        axis: 0,
        length,
        fill: Fill::Value(value),
    }
}

/// What an eager forward pads from pull request 8280 on. `forward` is what the rank asked to run.
fn tensors(profile: Profile, forward: ForwardMode, sequence: i64, batch: &BatchPlan) -> Vec<TensorPadding> {
    let row = |tensor| per(Per::Row, tensor, 0, batch);
    let request = |tensor| per(Per::Request, tensor, 0, batch);
    let lengths = |tensor| per(Per::Request, tensor, sequence, batch);
    let drafts = matches!(forward, ForwardMode::DraftDecode | ForwardMode::DraftExtend);
    let newest = profile >= Profile::Main202609;

    let mut all: Vec<_> = ROWS_OF_TOKENS[..if drafts { 4 } else { 3 }]
        .iter()
        .map(|&tensor| row(tensor))
        .collect();
    all.extend([
        request("req_pool_indices"),
        lengths("seq_lens"),
        lengths("seq_lens_cpu"),
        request("encoder_lens"),
    ]);
    if batch.forward.is_extend() || forward == ForwardMode::DraftExtend {
        // A decode batch that runs as extend, and a made-up request, know the lengths of what they extend by.
        let rewritten = batch.forward != forward;
        all.push(if rewritten {
            lengths("extend_seq_lens")
        } else {
            request("extend_seq_lens")
        });
    }
    // Shaped [3, rows]; earlier versions pad the wrong axis, and by requests.
    all.push(match newest {
        true => TensorPadding {
            axis: 1,
            ..row("mrope_positions")
        },
        false => request("mrope_positions"),
    });
    if drafts {
        all.extend(["topk_p", "topk_index", "accept_length"].map(request));
    }
    if newest {
        all.push(TensorPadding {
            fill: Fill::Nothing,
            ..request("lora_ids")
        });
        all.extend(
            [
                "mamba_track_indices",
                "mamba_track_mask",
                "mamba_track_seqlens",
                "rids_int",
            ]
            .map(request),
        );
        all.push(per(Per::Request, "bootstrap_room_ids", -1, batch));
    }
    all
}

/// What a graph of `bucket` requests does to its own tensors before a replay.
fn replayed(forward: ForwardMode, rows: u64, bucket: u64, requests: u64) -> BatchPlan {
    let mut batch = BatchPlan {
        forward,
        rows,
        requests: bucket,
        is_dummy: false,
        real_rows: 0,
        kept: rows,
        sequence_lengths_added: bucket - requests,
        tensors: Vec::new(),
    };
    if requests == bucket {
        return batch;
    }
    let stale = |padding| TensorPadding {
        fill: Fill::Stale,
        ..padding
    };
    let row = |tensor| per(Per::Row, tensor, 0, &batch);
    let one = |tensor| per(Per::Request, tensor, 1, &batch);
    let mut tensors = vec![
        stale(row("input_ids")),
        row("out_cache_loc"),
        stale(row("positions")),
        stale(one("req_pool_indices")),
        one("seq_lens"),
    ];
    if forward == ForwardMode::DraftExtend {
        tensors.extend([one("accept_length"), one("extend_seq_lens")]);
    }
    batch.tensors = tensors;
    batch
}

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;

    fn plan(profile: Profile, request: Request) -> Plan {
        Plan::new(&Request { profile, ..request }).unwrap()
    }

    fn find(batch: &BatchPlan, tensor: &str) -> Option<(usize, u64, Fill)> {
        let padding = batch.tensors.iter().find(|padding| padding.tensor == tensor)?;
        Some((padding.axis, padding.length, padding.fill))
    }

    #[test]
    fn no_prefill_runs_in_a_decode_graph() {
        let graph = Request {
            coef: 4,
            graph_ok: true,
            graph_buckets: Some(vec![8]),
            ..Request::new(vec![3, 5], 2)
        };
        for profile in Profile::ALL {
            let plan = plan(profile, graph.clone());
            // As many prompts as rows, which are more than the graph has requests.
            for forward in [ForwardMode::Extend, ForwardMode::Mixed] {
                let error = plan.batch(1, forward, 20).unwrap_err();
                assert_eq!(error, PlanError::PrefillInGraph { rank: 1, forward });
            }
        }
    }

    fn decode(profile: Profile) -> BatchPlan {
        let request = Request {
            attn_tp: 4,
            ..Request::new(vec![9, 5], 2)
        };
        plan(profile, request).batch(1, ForwardMode::Decode, 5).unwrap()
    }

    #[test]
    fn nothing_was_padded_before_8277_and_only_draft_extend_by_it() {
        assert!(decode(Profile::Base8277).tensors.is_empty());
        assert!(decode(Profile::Pr8277).tensors.is_empty());
        let draft_extend = |profile| {
            let request = Request {
                coef: 4,
                coef_lp: Some(1),
                ..Request::new(vec![5, 2], 2)
            };
            plan(profile, request).batch(0, ForwardMode::DraftExtend, 5).unwrap()
        };
        assert!(draft_extend(Profile::Base8277).tensors.is_empty());
        let batch = draft_extend(Profile::Pr8277);
        assert_eq!(batch.tensors.len(), 4);
        for tensor in ROWS_OF_TOKENS {
            assert_eq!(find(&batch, tensor), Some((0, 20, Fill::Value(0))));
        }
    }

    #[test]
    fn decode_requests_are_padded_with_their_tokens_after_8280() {
        let batch = decode(Profile::Pr8280);
        assert_eq!((batch.rows, batch.requests, batch.sequence_lengths_added), (12, 5, 0));
        for profile in &Profile::ALL[3..] {
            let batch = decode(*profile);
            assert_eq!((batch.rows, batch.requests, batch.sequence_lengths_added), (12, 12, 7));
            assert_eq!(find(&batch, "input_ids"), Some((0, 12, Fill::Value(0))));
            assert_eq!(find(&batch, "seq_lens"), Some((0, 12, Fill::Value(1))));
            assert_eq!(find(&batch, "extend_seq_lens"), None);
            assert_eq!(find(&batch, "topk_p"), None);
        }
    }

    #[test]
    fn multimodal_positions_are_padded_along_rows_in_the_newest_version_only() {
        assert_eq!(
            find(&decode(Profile::Pr8280), "mrope_positions"),
            Some((0, 5, Fill::Value(0)))
        );
        assert_eq!(
            find(&decode(Profile::Main202609), "mrope_positions"),
            Some((1, 12, Fill::Value(0)))
        );
        assert_eq!(find(&decode(Profile::Pr20406), "lora_ids"), None);
        assert_eq!(
            find(&decode(Profile::Main202609), "lora_ids"),
            Some((0, 12, Fill::Nothing))
        );
        assert_eq!(
            find(&decode(Profile::Main202609), "bootstrap_room_ids"),
            Some((0, 12, Fill::Value(-1)))
        );
    }

    #[test]
    fn speculative_batches_have_rows_divided_by_their_width() {
        let verify = |profile| {
            let request = Request {
                coef: 4,
                ..Request::new(vec![4, 3], 2)
            };
            plan(profile, request).batch(1, ForwardMode::TargetVerify, 3).unwrap()
        };
        assert_eq!(
            (verify(Profile::Pr20406).rows, verify(Profile::Pr20406).requests),
            (16, 3)
        );
        assert_eq!(
            (verify(Profile::Main202609).rows, verify(Profile::Main202609).requests),
            (16, 4)
        );
        let request = Request {
            coef: 2,
            ..Request::new(vec![6, 2], 2)
        };
        let draft = plan(Profile::Pr9136, request)
            .batch(1, ForwardMode::DraftDecode, 2)
            .unwrap();
        assert_eq!((draft.rows, draft.requests), (12, 6));
        assert_eq!(find(&draft, "hidden_states"), Some((0, 12, Fill::Value(0))));
        assert_eq!(find(&draft, "topk_index"), Some((0, 6, Fill::Value(0))));
    }

    #[test]
    fn decode_in_a_padded_prefill_runs_as_extend_of_one_token_each() {
        let request = || Request {
            extend: true,
            ..Request::new(vec![8, 7], 2)
        };
        let batch = |profile| plan(profile, request()).batch(1, ForwardMode::Decode, 7).unwrap();
        assert_eq!(batch(Profile::Pr8280).forward, ForwardMode::Decode);
        let rewritten = batch(Profile::Pr9136);
        assert_eq!(
            (rewritten.forward, rewritten.rows, rewritten.requests),
            (ForwardMode::Extend, 8, 7)
        );
        assert_eq!(find(&rewritten, "extend_seq_lens"), Some((0, 7, Fill::Value(1))));
        assert_eq!(
            batch(Profile::Pr10414).forward,
            ForwardMode::Decode,
            "that version packs prefills"
        );
    }

    #[test]
    fn section_1_6_and_4_3_made_up_rows_are_real_where_a_model_is_hybrid() {
        let real = |profile, hybrid_idle| {
            let request = Request {
                extend: true,
                force_max: true,
                hybrid_idle,
                ..Request::new(vec![512, 0], 2)
            };
            let plan = plan(profile, request);
            let batch = plan.batch(1, ForwardMode::Idle, 0).unwrap();
            assert!(batch.is_dummy);
            assert_eq!(plan.batch(0, ForwardMode::Extend, 1).unwrap().real_rows, 512);
            batch.real_rows
        };
        assert_eq!(
            (real(Profile::Main202609, false), real(Profile::Main202609, true)),
            (512, 512)
        );
        assert_eq!(
            (real(Profile::Main202611, false), real(Profile::Main202611, true)),
            (0, 512)
        );
    }

    #[test]
    fn an_empty_rank_in_a_padded_prefill_runs_one_made_up_request() {
        let request = Request {
            extend: true,
            hybrid_idle: true,
            ..Request::new(vec![512, 0], 2)
        };
        let batch = plan(Profile::Main202609, request)
            .batch(1, ForwardMode::Idle, 0)
            .unwrap();
        assert!(batch.is_dummy);
        assert_eq!(
            (batch.forward, batch.rows, batch.requests),
            (ForwardMode::Extend, 512, 1)
        );
        assert_eq!(batch.sequence_lengths_added, 512);
        assert_eq!(find(&batch, "seq_lens"), Some((0, 1, Fill::Value(512))));
        assert_eq!(find(&batch, "extend_seq_lens"), Some((0, 1, Fill::Value(512))));
    }

    #[test]
    fn a_packed_idle_rank_stays_empty() {
        for profile in Profile::ALL {
            let request = Request {
                extend: true,
                ..Request::new(vec![512, 0], 2)
            };
            let batch = plan(profile, request).batch(1, ForwardMode::Idle, 0).unwrap();
            assert_eq!((batch.forward, batch.rows, batch.requests), (ForwardMode::Idle, 0, 0));
            assert!(!batch.is_dummy && batch.tensors.iter().all(|padding| padding.length == 0));
        }
    }

    #[test]
    fn a_replay_keeps_stale_ids_and_resets_lengths_and_slots() {
        for profile in Profile::ALL {
            let request = Request {
                graph_ok: true,
                graph_buckets: Some(vec![16, 24]),
                ..Request::new(vec![20, 0], 2)
            };
            let plan = plan(profile, request);
            let batch = plan.batch(0, ForwardMode::Decode, 20).unwrap();
            assert_eq!((batch.rows, batch.requests, batch.sequence_lengths_added), (24, 24, 4));
            assert_eq!(find(&batch, "input_ids"), Some((0, 24, Fill::Stale)));
            assert_eq!(find(&batch, "out_cache_loc"), Some((0, 24, Fill::Value(0))));
            assert_eq!(find(&batch, "seq_lens"), Some((0, 24, Fill::Value(1))));
            let full = plan.batch(0, ForwardMode::Decode, 24).unwrap();
            assert!(full.tensors.is_empty());
        }
    }

    #[test]
    fn what_padding_added_is_cut_off_after_the_forward() {
        let kept = |profile, forward, coef, requests| {
            let request = Request {
                coef,
                ..Request::new(vec![6, 4], 2)
            };
            plan(profile, request).batch(0, forward, requests).unwrap().kept
        };
        let newest = Profile::Main202609;
        for profile in [Profile::Pr8280, Profile::Pr9136, Profile::Pr20406, newest] {
            assert_eq!(kept(profile, ForwardMode::Decode, 1, 5), 5);
            assert_eq!(kept(profile, ForwardMode::TargetVerify, 4, 5), 20);
            assert_eq!(kept(profile, ForwardMode::DraftDecode, 2, 5), 10);
            assert_eq!(kept(profile, ForwardMode::Extend, 1, 2), 6);
        }
        assert_eq!(kept(Profile::Pr20406, ForwardMode::DraftExtend, 4, 5), 5);
        assert_eq!(kept(newest, ForwardMode::DraftExtend, 4, 5), 20);
        assert_eq!(kept(Profile::Pr8277, ForwardMode::Decode, 1, 5), 6);
        let captured = Request {
            graph_ok: true,
            graph_buckets: Some(vec![8]),
            ..Request::new(vec![5, 6], 2)
        };
        let batch = plan(newest, captured).batch(0, ForwardMode::Decode, 5).unwrap();
        assert_eq!((batch.rows, batch.kept), (8, 5));
    }

    #[test]
    fn a_batch_that_was_not_planned_is_an_error() {
        let plan = plan(Profile::Main202609, Request::new(vec![4, 3], 2));
        assert_eq!(
            plan.batch(1, ForwardMode::Decode, 5),
            Err(PlanError::BatchTooLarge {
                rank: 1,
                requests: 5,
                rows: 4
            })
        );
        assert_eq!(
            plan.batch(2, ForwardMode::Decode, 1),
            Err(PlanError::NoSuchRank { rank: 2, ranks: 2 })
        );
        assert!(plan.batch(0, ForwardMode::Decode, u64::MAX).is_err());
    }
}
