//! The worked examples of the specification's second part about micro-batches, context-parallel shards, uneven collectives,
//! wires, and requests held back. Every test names its section, every case its row.

use tilewright_dp::buffer::{PartArenas, Role};
use tilewright_dp::plan::micro::{
    Child, Cut, DEFAULT_TWO_CHUNK_PERCENT, DualBatch, Micro, MicroPlan, Runner, TwoBatch, WhyWhole, last_is_empty,
    slices,
};
use tilewright_dp::plan::{
    Combine, ContextParallel, ExpertCombine, Form, Hold, HoldDecision, HoldLimits, Plan, Profile, Request, ShardError,
    Sizes, Topology, WireFormat, WirePlan, expert_combine, zigzag_blocks,
};
use tilewright_runtime::Device;

fn prompts(lengths: &[u64]) -> Cut {
    Cut::of_prompts(lengths, DEFAULT_TWO_CHUNK_PERCENT).unwrap()
}

fn halves(cut: Cut, lengths: &[u64], alignment: u64) -> [Child; 2] {
    let real = lengths.iter().sum();
    cut.children(lengths, real, alignment).unwrap()
}

#[test]
fn section_2_1_where_two_batch_overlap_cuts() {
    let cut = |requests, tokens, within| Cut {
        requests,
        tokens,
        within,
    };
    let tokens = |cut: Cut, lengths: &[u64]| halves(cut, lengths, 1).map(|child| child.tokens.end - child.tokens.start);
    assert_eq!(Cut::of_requests(9, 1), cut(4, 4, false), "M1");
    assert_eq!(tokens(Cut::of_requests(9, 1), &[1; 9]), [4, 5], "M1");
    assert_eq!(Cut::of_requests(5, 4), cut(2, 8, false), "M2");
    assert_eq!(tokens(Cut::of_requests(5, 4), &[4; 5]), [8, 12], "M2");
    for (row, lengths, expected, a, b) in [
        (
            "M3",
            &[100, 50, 30, 20][..],
            cut(1, 100, false),
            &[100][..],
            &[50, 30, 20][..],
        ),
        ("M4", &[1000, 10], cut(0, 505, true), &[505], &[495, 10]),
        ("M5", &[4, 4, 4], cut(1, 6, true), &[4, 2], &[2, 4]),
        ("M6", &[1], cut(0, 0, false), &[], &[1]),
        ("M7", &[1, 1, 1], cut(2, 2, false), &[1, 1], &[1]),
    ] {
        let found = prompts(lengths);
        assert_eq!(found, expected, "{row}");
        let [first, second] = halves(found, lengths, 1);
        assert_eq!((&first.lengths[..], &second.lengths[..]), (a, b), "{row}");
    }
    let [a, b] = halves(prompts(&[1000, 10]), &[1000, 10], 4);
    assert_eq!((a.padded, b.padded, b.prefix_added), (508, 508, 505), "M4");
    assert_eq!(
        [None, Some(1), Some(2)].map(|tp| a.buffer_rows(tp)),
        [None, Some(505), None]
    );
}

/// A request whose two halves are these, of one prompt each: a cut behind the first.
fn of_halves(halves: &[[u64; 2]], attn_tp: u64) -> Request {
    let prompts = halves
        .iter()
        .map(|half| half.iter().copied().filter(|&n| n > 0).collect())
        .collect();
    let micro = Micro::Tbo(TwoBatch {
        prompts: Some(prompts),
        two_chunk_percent: 0,
    });
    Request {
        extend: true,
        attn_tp,
        micro: Some(micro),
        ..Request::new(
            halves.iter().map(|half| half.iter().sum()).collect(),
            halves.len() as u64,
        )
    }
}

#[test]
fn section_2_2_two_halves_of_the_gathered_buffer() {
    let plan = Plan::new(&of_halves(&[[100, 90], [50, 60], [0, 0], [7, 5]], 1)).unwrap();
    let [a, b] = plan.parts() else { panic!("M8 is split") };
    assert_eq!(a.sizes(), [100, 50, 0, 7], "M8");
    assert_eq!(
        (a.layout().rows(), a.layout().starts()),
        (157, &[0, 100, 150, 150][..]),
        "M8"
    );
    assert_eq!((b.sizes(), b.layout().rows()), (vec![90, 60, 0, 5], 155), "M8");
    assert_eq!((a.layout().bytes(), b.layout().bytes()), (2_250_752, 2_222_080), "M11");
    assert_eq!(plan.layout().rows(), 312, "M11");

    let mut arenas = PartArenas::<u16>::new(&Device::cpu(), Role::Gathered, 8);
    let capacities = [157, 120, 200].map(|rows| {
        let request = Request {
            row_bytes: 16,
            ..of_halves(&[[rows, 1]], 1)
        };
        arenas.for_part(&Plan::new(&request).unwrap(), 0).unwrap();
        arenas.capacities()[0]
    });
    assert_eq!((capacities, arenas.usage().growths), ([157, 157, 200], 2), "M9");

    let plan = Plan::new(&of_halves(&[[8, 6], [4, 4]], 2)).unwrap();
    let [a, b] = plan.parts() else { panic!("M10 is split") };
    assert_eq!((a.sizes(), a.layout().rows()), (vec![4, 4, 2, 2], 12), "M10");
    assert_eq!((b.sizes(), b.layout().rows()), (vec![3, 3, 2, 2], 10), "M10");
}

#[test]
fn section_2_3_dual_batch_overlap() {
    let sliced = slices(&[1, 1, 10, 1, 1], 5, 14, 2, Runner::V1).unwrap();
    assert_eq!(
        (sliced[0].tokens.clone(), sliced[0].requests.clone()),
        (0..7, 0..3),
        "M12"
    );
    assert_eq!(
        (sliced[1].tokens.clone(), sliced[1].requests.clone()),
        (7..14, 2..5),
        "M12"
    );
    assert_eq!(
        (&sliced[0].starts[..], &sliced[1].starts[..]),
        (&[0, 1, 2, 7][..], &[0, 5, 6, 7][..]),
        "M12"
    );
    assert_eq!((sliced[0].sequence_removed, sliced[1].sequence_removed), (5, 0), "M12");

    let sliced = slices(&[1; 6], 8, 8, 2, Runner::V1).unwrap();
    assert_eq!((sliced[0].real, sliced[1].real), (4, 2), "M13");
    assert_eq!(sliced[1].starts, [0, 1, 2, 2, 2], "M13");

    let is_split = |tokens, extend| {
        let request = Request {
            extend,
            micro: Some(Micro::Dbo(DualBatch::default())),
            ..Request::new(vec![tokens; 2], 2)
        };
        matches!(Plan::new(&request).unwrap().micro(), Some(MicroPlan::Split(_)))
    };
    let decisions =
        [(31, false), (32, false), (511, true), (512, true)].map(|(tokens, extend)| is_split(tokens, extend));
    assert_eq!(decisions, [false, true, false, true], "M14");
    assert_eq!(
        [200, 201].map(|fewest| last_is_empty(fewest, 300, 3)),
        [true, false],
        "M15"
    );

    // A half behind the last real token holds the last request with no token.
    let sliced = slices(&[1; 6], 6, 16, 2, Runner::V2).unwrap();
    assert_eq!((sliced[0].real, sliced[0].requests.clone()), (6, 0..6));
    assert_eq!((sliced[1].tokens.clone(), sliced[1].requests.clone()), (8..16, 5..6));
    assert_eq!((&sliced[1].starts[..], sliced[1].sequence_removed), (&[0, 0][..], 0));
}

#[test]
fn section_2_3_equal_parts_of_what_was_agreed() {
    let plan = |tokens: [u64; 2], dual: DualBatch| {
        let request = Request {
            extend: true,
            micro: Some(Micro::Dbo(dual)),
            ..Request::new(tokens.to_vec(), 2)
        };
        Plan::new(&request).unwrap()
    };
    let three = plan(
        [600, 1001],
        DualBatch {
            batches: 3,
            runner: Runner::V2,
            ..DualBatch::default()
        },
    );
    let rows: Vec<_> = three
        .parts()
        .iter()
        .map(|part| part.layout().padded().to_vec())
        .collect();
    assert_eq!(rows, [[333, 333], [333, 333], [335, 335]]);
    let tokens: Vec<_> = three
        .parts()
        .iter()
        .map(|part| part.layout().counts().to_vec())
        .collect();
    assert_eq!(tokens, [[333, 333], [267, 333], [0, 335]]);
    let whole = plan([600, 1400], DualBatch::default());
    let why = WhyWhole::LastEmpty {
        fewest: 600,
        before: 700,
    };
    assert_eq!(whole.micro(), Some(&MicroPlan::Whole(why)));
    assert!(
        whole.explain().contains("its last part would be all padding"),
        "{}",
        whole.explain()
    );
}

#[test]
fn section_3_1_how_a_batch_is_sharded() {
    let shards = |context: ContextParallel, lengths: &[u64]| context.shards(lengths, lengths.iter().sum()).unwrap();
    let c1 = shards(ContextParallel::ZigZag(2), &[10]).unwrap();
    assert_eq!(zigzag_blocks(10, 2).collect::<Vec<_>>(), [3, 3, 2, 2], "C1");
    assert_eq!(
        (&c1.rows[..], c1.physical, c1.buffer_rows()),
        (&[5, 5][..], 8, 16),
        "C1"
    );
    let c2 = shards(ContextParallel::ZigZag(2), &[9, 8]).unwrap();
    assert_eq!(zigzag_blocks(9, 2).collect::<Vec<_>>(), [3, 2, 2, 2], "C2");
    assert_eq!((&c2.rows[..], c2.physical), (&[9, 8][..], 12), "C2");
    assert_eq!(shards(ContextParallel::ZigZag(2), &[3, 100]), None, "C3");
    let c4 = shards(ContextParallel::Interleaved(4), &[10]).unwrap();
    assert_eq!((&c4.rows[..], c4.physical), (&[3, 3, 2, 2][..], 4), "C4");
    assert_eq!(c4.gathered_equally(), [0..3, 3..6, 6..8, 9..11]);
}

#[test]
fn section_3_2_where_shards_are_written_and_how_they_come_back() {
    let request = |shards: [[u64; 2]; 2]| Request {
        profile: Profile::Pr20406,
        extend: true,
        shards: Some(shards.map(Vec::from).to_vec()),
        ..Request::new(vec![16, 12], 2)
    };
    let plan = Plan::new(&request([[8, 8], [5, 5]])).unwrap();
    assert_eq!(plan.shards().unwrap().rows().nth(1).unwrap(), [16..21, 21..26], "C5");
    let error = Plan::new(&request([[8, 8], [5, 8]])).unwrap_err();
    assert_eq!(
        error,
        ShardError::MoreThanSlot {
            rank: 1,
            rows: 13,
            slot: 12
        }
        .into()
    );

    let topology = |attention_tp: u64| Topology::with_context(4 * attention_tp, 2, ContextParallel::ZigZag(2)).unwrap();
    let scattered = |rows, attention, context| {
        Ok(Combine::ReduceScatter {
            rows,
            attention,
            context,
        })
    };
    assert_eq!(topology(1).combine(9), Ok(Combine::Narrow(9)), "C6");
    assert_eq!(topology(1).combine(8), scattered(4, None, Some(8)), "C7");
    assert_eq!(topology(2).combine(8), scattered(2, Some(4), Some(8)), "C8");
    assert!(Topology::new(4, 2).unwrap().combine(9).is_err());
}

#[test]
fn section_7_1_sizes_of_uneven_collectives() {
    let g1 = Sizes::new(vec![5, 0, 3]).unwrap();
    assert_eq!(
        (g1.rows(), g1.starts(), g1.form()),
        (8, vec![0, 5, 5], Form::Broadcasts(3)),
        "G1"
    );
    assert_eq!(
        WirePlan::new(WireFormat::Bf16, 7168, 0, &g1).unwrap().gathered_bytes(),
        114_688,
        "G1"
    );
    let g2 = Sizes::new(vec![4, 4]).unwrap();
    assert_eq!((g2.rows(), g2.form()), (8, Form::Plain), "G2");
    let of = |tp, dp, experts| expert_combine(&Topology::new(tp, dp).unwrap(), experts, false, false);
    assert_eq!(of(4, 4, 4), ExpertCombine::ReduceScatter, "G3");
    let g3 = Plan::new(&Request {
        extend: true,
        ..Request::new(vec![100, 3, 0, 7], 4)
    })
    .unwrap();
    assert_eq!(g3.layout().padded(), [100, 3, 0, 7], "G3");
    assert_eq!(of(4, 2, 2), ExpertCombine::AllReduce, "G4");
    let g5 = Sizes::new(vec![600, 100]).unwrap();
    let chunks = [0, 1, 2].map(|index| g5.chunk(256, index).unwrap().sizes().to_vec());
    assert_eq!(chunks, [[256, 100], [256, 1], [88, 1]], "G5");
    let split = Sizes::sequence_parallel(&[5, 2], 2).unwrap();
    assert_eq!(split.sizes(), [3, 3, 1, 1]);
}

#[test]
fn section_7_2_bytes_on_quantised_wires() {
    let rows = WireFormat::ALL.map(|format| format.row(7168, 8).unwrap().bytes());
    assert_eq!(rows, [14_400, 7_456, 7_456, 4_096], "Q1");
    let sizes = Sizes::new(vec![5, 0, 3]).unwrap();
    let of = |format| WirePlan::new(format, 7168, 8, &sizes).unwrap();
    let nvfp4 = of(WireFormat::Nvfp4);
    let parts =
        [nvfp4.row.payload, nvfp4.row.scales, nvfp4.row.weights + nvfp4.row.ids].map(|bytes| bytes * nvfp4.rows);
    assert_eq!((parts, nvfp4.gathered_bytes()), ([28_672, 3_584, 512], 32_768), "Q2");
    assert_eq!(of(WireFormat::Bf16).gathered_bytes(), 115_200, "Q2");
    assert_eq!(WireFormat::swizzled_scale_bytes(8, 7168), 57_344, "Q3");
    let error = WireFormat::Fp8.row(100, 0).unwrap_err().to_string();
    assert!(error.contains("100 elements is not blocks of 128"), "Q4: {error}");
    let q5 = WirePlan::new(WireFormat::Nvfp4, 7168, 8, &Sizes::new(vec![4096]).unwrap()).unwrap();
    assert_eq!((q5.gathered_bytes(), q5.combined_bytes()), (16 << 20, 56 << 20), "Q5");
}

#[test]
fn section_8_1_when_prompts_wait() {
    use HoldDecision::{Hold as Held, Release};
    let limits = HoldLimits {
        timeout_iters: 3,
        batching_wait_iters: 2,
        max_batch: 8,
        ..HoldLimits::default()
    };
    let run = |limits, context: [u64; 2], generation: [u64; 2], times: usize| -> Vec<_> {
        let mut hold = Hold::new(limits).unwrap();
        let decide = |_| hold.decide(&context, &generation, &generation).unwrap();
        (0..times).map(decide).collect()
    };
    assert_eq!(run(limits, [1, 1], [4, 4], 3), [Held, Held, Release], "H1");
    assert_eq!(run(limits, [1, 0], [4, 4], 3), [Held, Held, Release], "H2");
    assert_eq!(run(limits, [1, 0], [4, 0], 1), [Release], "H3");
    assert_eq!(run(limits, [1, 1], [0, 0], 1), [Release], "H3");
    assert_eq!(run(limits, [1, 1], [8, 4], 3), [Held, Held, Release], "H4");
    let starved = HoldLimits { threshold: 5, ..limits };
    assert_eq!(run(starved, [1, 0], [4, 4], 1), [Release], "H5");
    let over = HoldLimits { threshold: 9, ..limits };
    assert!(Hold::new(over).is_err());
    assert!(Hold::new(HoldLimits { low_limit: 4, ..limits }).is_err());
}

#[test]
fn section_8_2_no_padding_where_none_is_needed() {
    let sizes = |counts: &[u64], pad| Sizes::eager(counts, pad).unwrap();
    let p1 = sizes(&[900, 40, 0], false);
    assert_eq!((p1.rows(), p1.form()), (940, Form::Broadcasts(3)), "P1");
    let p1 = sizes(&[900, 40, 0], true);
    assert_eq!((p1.rows(), p1.form()), (2700, Form::Plain), "P1");
    let p2 = Sizes::captured(&[5, 8, 3], &[8, 16]).unwrap().unwrap();
    assert_eq!((p2.rows(), p2.form()), (24, Form::Plain), "P2");
    let p3 = sizes(&[64, 64], false);
    assert_eq!((p3.rows(), p3.form()), (128, Form::Plain), "P3");
    assert_eq!(Sizes::captured(&[17], &[8, 16]), Ok(None));
}

#[test]
fn contradictions_name_their_rule() {
    let micro = |micro, extend, raw: &[u64]| {
        let request = Request {
            extend,
            micro: Some(micro),
            ..Request::new(raw.to_vec(), raw.len() as u64)
        };
        Plan::new(&request).unwrap_err().to_string()
    };
    let tbo = |prompts: Option<Vec<Vec<u64>>>, two_chunk_percent| {
        Micro::Tbo(TwoBatch {
            prompts,
            two_chunk_percent,
        })
    };
    let dbo = |batches| {
        Micro::Dbo(DualBatch {
            batches,
            ..DualBatch::default()
        })
    };
    for (error, rule) in [
        (micro(tbo(None, 48), true, &[5]), "has no `prompts`"),
        (micro(tbo(Some(vec![vec![5]]), 48), false, &[5]), "does not prefill"),
        (micro(tbo(Some(vec![]), 48), true, &[5]), "prompts of 0 ranks"),
        (
            micro(tbo(Some(vec![vec![2, 2]]), 48), true, &[5]),
            "4 tokens together and its count is 5",
        ),
        (
            micro(tbo(Some(vec![vec![u64::MAX, 1]]), 48), true, &[5]),
            "over 2147483647 tokens",
        ),
        (micro(tbo(Some(vec![vec![5]]), 51), true, &[5]), "at most 50"),
        (micro(dbo(0), true, &[600]), "split into 2 to 64"),
        (micro(dbo(1), true, &[600]), "split into 2 to 64"),
        (micro(dbo(u64::MAX), true, &[600]), "split into 2 to 64"),
    ] {
        assert!(error.contains(rule), "{error}");
    }
    let list = r#"{"raw": [5], "dp": 1, "micro": ["dbo", 2, 32, 512, "v1"]}"#;
    let error = serde_json::from_str::<Request>(list).unwrap_err().to_string();
    assert!(error.contains("expected micro-batches, an object"), "{error}");
    assert!(
        Plan::new(&of_halves(&[[4, 4]], 1 << 15))
            .unwrap_err()
            .to_string()
            .contains("the most ranks of a group")
    );
    // Each part would fit, and all together do not.
    let many = DualBatch {
        batches: 3,
        runner: Runner::V2,
        ..DualBatch::default()
    };
    assert!(micro(Micro::Dbo(many), true, &[1 << 30, 1 << 30, 1 << 29]).contains("over 2147483647 rows"));
    let shards = |shards: Vec<Vec<u64>>| {
        let request = Request {
            shards: Some(shards),
            ..Request::new(vec![9, 9], 2)
        };
        Plan::new(&request).unwrap_err().to_string()
    };
    for (error, rule) in [
        (shards(vec![vec![1]]), "`shards` has 1 lists"),
        (shards(vec![vec![1, 2], vec![3]]), "rank 1 has 1"),
        (shards(vec![vec![], vec![]]), "at least one"),
        (
            shards(vec![vec![u64::MAX, 9], vec![1, 1]]),
            "shards are parts of the slot",
        ),
    ] {
        assert!(error.contains(rule), "{error}");
    }
    let wire = |row_bytes, experts_per_token| {
        let request = Request {
            wire: Some(WireFormat::Nvfp4),
            row_bytes,
            experts_per_token,
            ..Request::new(vec![9, 9], 2)
        };
        Plan::new(&request).unwrap_err().to_string()
    };
    for (error, rule) in [
        (wire(15, None), "not of bfloat16"),
        (wire(34, None), "17 elements is not blocks of 16"),
        (wire(32, Some(u64::MAX)), "the most are 1024"),
    ] {
        assert!(error.contains(rule), "{error}");
    }
    for (error, rule) in [
        (slices(&[5], 0, 5, 2, Runner::V1).unwrap_err(), "padding only adds"),
        (
            slices(&[5], 1, 4, 2, Runner::V1).unwrap_err(),
            "agreed on 4 tokens and this one has 5",
        ),
        (slices(&[1], 1, 1, 2, Runner::V1).unwrap_err(), "at least one"),
        (
            slices(&[u64::MAX, 2], 2, 4, 2, Runner::V1).unwrap_err(),
            "over 2147483647",
        ),
    ] {
        assert!(error.to_string().contains(rule), "{error}");
    }
    let other = Cut {
        requests: 9,
        tokens: 3,
        within: true,
    };
    assert!(
        other
            .children(&[5], 5, 1)
            .unwrap_err()
            .to_string()
            .contains("do not have")
    );
}
