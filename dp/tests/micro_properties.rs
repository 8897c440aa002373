//! What holds for every split, every shard and every wire.

use proptest::prelude::*;
use tilewright_dp::plan::micro::{Cut, DualBatch, Micro, Runner, TwoBatch, slices};
use tilewright_dp::plan::{
    ContextParallel, Hold, HoldDecision, HoldLimits, Plan, Request, Sizes, WireFormat, WirePlan, zigzag_blocks,
};

fn lengths() -> impl Strategy<Value = Vec<u64>> {
    let length = prop_oneof![0u64..4, 1u64..300, 1u64..5000];
    prop::collection::vec(length, 0..9)
}

proptest! {
    #[test]
    fn both_halves_add_up_to_the_batch(lengths in lengths(), percent in 0u64..=50, alignment in 1u64..9, pads in 0u64..9) {
        let all: u64 = lengths.iter().sum();
        let real = all.saturating_sub(pads);
        let cut = Cut::of_prompts(&lengths, percent).unwrap();
        let [a, b] = cut.children(&lengths, real, alignment).unwrap();
        prop_assert_eq!((a.tokens.start, a.tokens.end, b.tokens.end), (0, b.tokens.start, all));
        prop_assert_eq!(a.lengths.iter().sum::<u64>(), a.tokens.end);
        prop_assert_eq!(b.lengths.iter().sum::<u64>(), all - a.tokens.end);
        prop_assert_eq!(a.real + b.real, real);
        prop_assert_eq!(a.requests.len(), a.lengths.len());
        prop_assert_eq!(b.requests.len(), b.lengths.len());
        prop_assert_eq!(a.lengths.len() + b.lengths.len(), lengths.len() + usize::from(cut.within));
        for child in [&a, &b] {
            prop_assert!(child.padded % alignment == 0 && child.padded >= child.tokens.end - child.tokens.start);
        }
        if cut.within {
            // The cut one is in both, and its parts add up.
            prop_assert_eq!(a.lengths[cut.requests] + b.lengths[0], lengths[cut.requests]);
            prop_assert!(a.lengths.len() as u64 <= a.tokens.end);
        }
    }

    #[test]
    fn slices_cover_each_token_once(
        queries in prop::collection::vec(0u64..30, 1..9),
        pads in 0u64..40,
        more in 0usize..4,
        batches in 2u64..5,
        second in any::<bool>(),
    ) {
        let own: u64 = queries.iter().sum();
        let agreed = (own + pads).max(batches);
        let runner = if second { Runner::V2 } else { Runner::V1 };
        let slices = slices(&queries, queries.len() + more, agreed, batches, runner).unwrap();
        prop_assert_eq!(slices.iter().map(|slice| slice.real).sum::<u64>(), own);
        let mut next = 0;
        for slice in &slices {
            prop_assert_eq!(slice.tokens.start, next);
            next = slice.tokens.end;
            prop_assert!(slice.starts.is_sorted() && slice.starts[0] == 0);
            prop_assert_eq!(*slice.starts.last().unwrap(), slice.real);
            prop_assert!(slice.requests.end <= queries.len());
        }
        prop_assert_eq!(next, agreed);
        prop_assert_eq!(slices.last().unwrap().starts.len(), slices.last().unwrap().requests.len() + 1 + more);
    }

    #[test]
    fn parts_of_a_plan_hold_every_token_and_fill_their_buffers(
        counts in prop::collection::vec(0u64..900, 1..17),
        attn_tp in 1u64..5,
        coef in 1u64..5,
        batches in 2u64..5,
        kind in 0..4,
    ) {
        let dual = DualBatch { batches, decode_threshold: 0, prefill_threshold: 0, runner: Runner::V1 };
        let halved = |&count: &u64| vec![count / 3, count - count / 3];
        let (extend, coef, micro) = match kind {
            0 => (false, coef, Micro::Tbo(TwoBatch::default())),
            1 => (true, 1, Micro::Tbo(TwoBatch { prompts: Some(counts.iter().map(halved).collect()), ..TwoBatch::default() })),
            2 => (false, coef, Micro::Dbo(dual)),
            _ => (true, 1, Micro::Dbo(DualBatch { runner: Runner::V2, ..dual })),
        };
        let dp = counts.len() as u64;
        let plan = Plan::new(&Request { extend, attn_tp, coef, micro: Some(micro), ..Request::new(counts.clone(), dp) }).unwrap();
        if kind < 2 && counts.iter().any(|&count| count > 0) {
            prop_assert_eq!(plan.parts().len(), 2);
        }
        for part in plan.parts() {
            prop_assert_eq!(part.sizes().len() as u64, dp * attn_tp);
            prop_assert_eq!(part.layout().padded().iter().sum::<u64>(), part.layout().rows());
            prop_assert!(part.layout().counts().iter().zip(part.layout().padded()).all(|(count, rows)| count <= rows));
        }
        if !plan.parts().is_empty() {
            for (rank, count) in counts.iter().enumerate() {
                let tokens: u64 = plan.parts().iter().map(|part| part.layout().counts()[rank]).sum();
                prop_assert_eq!(tokens, count * coef);
            }
        }
    }

    #[test]
    fn shards_cover_each_row_once(lengths in lengths(), pads in 0u64..9, parts in 1u64..6, zigzag in any::<bool>()) {
        let context = if zigzag { ContextParallel::ZigZag(parts) } else { ContextParallel::Interleaved(parts) };
        let real: u64 = lengths.iter().sum();
        if let Some(shards) = context.shards(&lengths, real + pads).unwrap() {
            prop_assert_eq!(shards.rows.iter().sum::<u64>(), real + pads);
            prop_assert_eq!(shards.real.iter().sum::<u64>(), real);
            prop_assert!(shards.rows.iter().zip(&shards.real).all(|(rows, real)| real <= rows && *rows <= shards.physical));
            prop_assert_eq!(shards.physical % context.alignment(), 0);
        }
        for length in lengths {
            prop_assert_eq!(zigzag_blocks(length, parts).sum::<u64>(), length);
        }
    }

    #[test]
    fn written_shards_lie_in_their_slots(counts in prop::collection::vec(0u64..90, 1..9), parts in 1u64..5) {
        let shards: Vec<Vec<u64>> =
            counts.iter().map(|count| (0..parts).map(|part| (count + parts - 1 - part) / parts).collect()).collect();
        let dp = counts.len() as u64;
        let plan = Plan::new(&Request { shards: Some(shards), ..Request::new(counts.clone(), dp) }).unwrap();
        for (rank, written) in plan.shards().unwrap().rows().enumerate() {
            let mut next = plan.layout().starts()[rank];
            for rows in written {
                prop_assert_eq!(rows.start, next);
                next = rows.end;
            }
            prop_assert_eq!(next, plan.layout().starts()[rank] + counts[rank]);
        }
    }

    #[test]
    fn sizes_and_bytes_add_up(counts in prop::collection::vec(0u64..5000, 1..17), blocks in 1u64..80, experts in 0u64..17) {
        let sizes = Sizes::new(counts.clone()).unwrap();
        prop_assert_eq!(sizes.starts().last().unwrap() + counts.last().unwrap(), sizes.rows());
        for format in WireFormat::ALL {
            let wire = WirePlan::new(format, 128 * blocks, experts, &sizes).unwrap();
            let row = wire.row;
            prop_assert_eq!(row.payload + row.scales + row.weights + row.ids, row.bytes());
            let of_ranks: u64 = counts.iter().map(|count| count * row.bytes()).sum();
            prop_assert_eq!(wire.gathered_bytes(), of_ranks);
            prop_assert!(row.payload + row.scales <= wire.combined_row);
        }
    }

    #[test]
    fn prompts_are_never_held_for_ever(
        limits in (0u64..9, 0u64..9, 1u64..9),
        steps in prop::collection::vec((prop::collection::vec(0u64..3, 3), prop::collection::vec(0u64..9, 3)), 40),
    ) {
        let (timeout_iters, batching_wait_iters, max_batch) = limits;
        let limits = HoldLimits { timeout_iters, batching_wait_iters, max_batch, ..HoldLimits::default() };
        let mut hold = Hold::new(limits).unwrap();
        let mut held = 0;
        for (context, generation) in steps {
            match hold.decide(&context, &generation, &generation).unwrap() {
                HoldDecision::Hold => held += 1,
                HoldDecision::Release => held = 0,
            }
            // A rank that waited for others and then has all prompts waits for more of them, and the other way round.
            prop_assert!(held <= (timeout_iters + 1) * (batching_wait_iters + 1));
            prop_assert!(generation.iter().all(|&requests| requests > 0) || held == 0);
        }
    }
}
