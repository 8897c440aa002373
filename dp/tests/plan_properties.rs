//! What holds for every plan.

use proptest::prelude::*;
use tilewright_dp::layout::PaddingMode;
use tilewright_dp::plan::{ForwardMode, Plan, Profile, Request, capture_sizes};

fn requests() -> impl Strategy<Value = Request> {
    let counts = (1usize..33).prop_flat_map(|ranks| {
        let count = prop_oneof![2 => 0u64..4, 3 => 0u64..300, 1 => 0u64..9000];
        let counts = || prop::collection::vec(count.clone(), ranks);
        (counts(), prop::option::of(counts()))
    });
    let sizes = (1u64..9, 1u64..9, prop::option::of(1u64..5), 1u64..13);
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    let buckets = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|speculative| Some(capture_sizes(speculative, 256)))
    ];
    let profile = prop::sample::select(Profile::ALL.to_vec());
    let prefill_buckets = prop::option::of(prop::collection::vec(1u64..9000, 1..4));
    (profile, counts, sizes, flags, buckets, prefill_buckets).prop_map(
        |(profile, (raw, raw_lp), (attn_tp, coef, coef_lp, cp_align), flags, graph_buckets, prefill_buckets)| {
            let (extend, graph_ok, hybrid_idle, force_max, elastic_join) = flags;
            let dp = raw.len() as u64;
            // What contradicts itself has no plan.
            let coef_lp = coef_lp.map(|rows| rows.min(coef));
            let graph_ok = graph_ok && !extend;
            let cp_align = if profile == Profile::Main202611 { 1 } else { cp_align };
            Request {
                profile,
                attn_tp,
                coef,
                coef_lp,
                raw_lp,
                extend,
                cp_align,
                graph_buckets,
                graph_ok,
                hybrid_idle,
                force_max,
                elastic_join,
                prefill_buckets,
                ..Request::new(raw, dp)
            }
        },
    )
}

fn scale(counts: &[u64], width: u64) -> Vec<u64> {
    counts.iter().map(|count| count * width).collect()
}

/// What a profile aligns every rank to.
fn alignment(request: &Request) -> [u64; 2] {
    match request.profile {
        Profile::Base8277 | Profile::Pr8277 => [1, 1],
        Profile::Main202609 => [request.attn_tp, request.cp_align],
        _ => [request.attn_tp, 1],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn ranks_tile_the_buffer(request in requests()) {
        let plan = Plan::new(&request).unwrap();
        let layout = plan.layout();
        let mut next = 0;
        for rank in 0..request.dp {
            let slot = plan.slot(rank).unwrap();
            prop_assert_eq!(slot.start, next);
            prop_assert_eq!(slot.tokens, request.raw[rank as usize] * request.coef);
            prop_assert!(slot.rows >= slot.tokens);
            next += slot.rows;
        }
        match plan.graph() {
            None => prop_assert_eq!(layout.rows(), next),
            // Up to pull request 8277 a graph may have rows after the last rank.
            Some(graph) => {
                prop_assert!(layout.rows() >= next);
                prop_assert_eq!(layout.rows(), graph.rows);
                prop_assert!(plan.mode() == PaddingMode::Sum || layout.rows() == next);
            }
        }
        prop_assert_eq!(layout.bytes(), layout.rows() * request.row_bytes);
        prop_assert!(plan.slot(request.dp).is_err());
    }

    #[test]
    fn eager_rows_are_aligned_and_no_more_than_that(request in requests()) {
        let plan = Plan::new(&Request { graph_ok: false, ..request.clone() }).unwrap();
        let layout = plan.layout();
        for (aligned, tokens) in layout.aligned().zip(layout.counts()) {
            prop_assert!(alignment(&request).iter().all(|of| aligned % of == 0));
            prop_assert!(aligned >= *tokens && aligned - tokens < layout.alignment());
        }
        let needed: Vec<u64> = layout.aligned().collect();
        let longest = needed.iter().copied().max().unwrap();
        match plan.mode() {
            PaddingMode::Sum => prop_assert_eq!(layout.padded(), needed),
            PaddingMode::Max => prop_assert!(layout.padded().iter().all(|&rows| rows == longest)),
        }
    }

    #[test]
    fn graph_rows_are_aligned_where_ranks_are_equal(request in requests()) {
        let plan = Plan::new(&Request { graph_ok: true, extend: false, ..request.clone() }).unwrap();
        if plan.graph().is_some() && plan.mode() == PaddingMode::Max {
            prop_assert!(plan.layout().padded().iter().all(|rows| rows % request.attn_tp == 0));
        }
    }

    #[test]
    fn logprob_counts_are_scaled_and_never_aligned(request in requests()) {
        let plan = Plan::new(&request).unwrap();
        let counts = request.raw_lp.as_deref().unwrap_or(&request.raw);
        let expected = scale(counts, request.coef_lp.unwrap_or(request.coef));
        prop_assert_eq!(plan.logits().counts(), &expected);
        if plan.graph().is_none() {
            let mut next = 0;
            for (start, count) in plan.logits().starts().iter().zip(&expected) {
                prop_assert_eq!(*start, next);
                next += count;
            }
            prop_assert!(plan.logits().buffer_rows() >= next);
        }
    }

    #[test]
    fn packing_never_needs_more_rows_than_padding(request in requests()) {
        let request = Request { profile: Profile::Main202609, graph_ok: false, ..request };
        let with = |force_max, extend| {
            let request = Request { force_max, extend, prefill_buckets: None, hybrid_idle: false, elastic_join: !force_max, ..request.clone() };
            let plan = Plan::new(&request).unwrap();
            (plan.mode(), plan.layout().rows())
        };
        let (max, max_rows) = with(true, false);
        let (sum, sum_rows) = with(false, true);
        prop_assert_eq!((max, sum), (PaddingMode::Max, PaddingMode::Sum));
        prop_assert!(sum_rows <= max_rows);
    }

    #[test]
    fn permuting_ranks_permutes_their_slots_and_changes_nothing_else(
        (request, order) in requests().prop_flat_map(|request| {
            let order: Vec<usize> = (0..request.raw.len()).collect();
            (Just(request), Just(order).prop_shuffle())
        })
    ) {
        let permute = |numbers: &[u64]| order.iter().map(|&rank| numbers[rank]).collect::<Vec<_>>();
        let permuted = Request {
            raw: permute(&request.raw),
            raw_lp: request.raw_lp.as_deref().map(permute),
            ..request.clone()
        };
        let (plan, other) = (Plan::new(&request).unwrap(), Plan::new(&permuted).unwrap());
        prop_assert_eq!(other.layout().padded(), permute(plan.layout().padded()));
        prop_assert_eq!(other.logits().counts(), permute(plan.logits().counts()));
        prop_assert_eq!(other.layout().rows(), plan.layout().rows());
        prop_assert_eq!(other.logits().bytes(), plan.logits().bytes());
        prop_assert_eq!(other.allocated_bytes(), plan.allocated_bytes());
        prop_assert_eq!((other.mode(), other.reason()), (plan.mode(), plan.reason()));
        prop_assert_eq!(other.execution(), plan.execution());
    }

    #[test]
    fn batches_are_padded_to_their_slots(request in requests()) {
        let plan = Plan::new(&request).unwrap();
        for rank in 0..request.dp {
            let requests = request.raw[rank as usize];
            let batch = plan.batch(rank, ForwardMode::TargetVerify, requests).unwrap();
            prop_assert!(batch.requests >= requests && batch.requests * request.coef <= batch.rows);
            for padding in &batch.tensors {
                prop_assert!(padding.length == batch.rows || padding.length == batch.requests);
            }
        }
    }

    #[test]
    fn every_plan_explains_and_prints_itself_in_whole_lines(request in requests()) {
        let plan = Plan::new(&request).unwrap();
        let explained = plan.explain();
        prop_assert!(explained.ends_with('\n') && explained.contains(&plan.reason().to_string()));
        prop_assert_eq!(plan.to_string().lines().count(), request.raw.len() + 3);
    }
}
