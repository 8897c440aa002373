use super::summary::Limits;
use super::*;
use crate::plan::micro::{Micro, TwoBatch};
use crate::plan::{MAX_RANKS, MAX_ROWS, MAX_SPECULATION, Padding, Profile, Topology};
use proptest::prelude::*;

fn trace(requests: &[(u64, u64, u64)]) -> Trace {
    let request = |&(milliseconds, context_tokens, generated_tokens): &(u64, u64, u64)| Request {
        arrival: Duration::from_millis(milliseconds),
        context_tokens,
        generated_tokens,
    };
    Trace::new(requests.iter().map(request).collect()).unwrap()
}

fn options(ranks: usize, chunk: u64) -> Options {
    Options {
        ranks,
        chunk,
        step: Duration::from_millis(10),
        drafting: None,
        hold: None,
        mixed: false,
        bound: None,
    }
}

fn counts(requests: &[(u64, u64, u64)], ranks: usize, chunk: u64) -> Vec<Vec<u64>> {
    let trace = trace(requests);
    Simulation::new(&trace, options(ranks, chunk))
        .unwrap()
        .map(|step| step.counts().to_vec())
        .collect()
}

/// What runs, and how many tokens each rank has.
fn drafted(requests: &[(u64, u64, u64)], ranks: usize, percent: u64) -> Vec<(ForwardMode, Vec<u64>, Vec<u64>)> {
    let drafting = Drafting {
        speculation: Speculation::new(1, 3, 4).unwrap(),
        accepted_percent: percent,
        seed: 1,
    };
    let options = Options {
        drafting: Some(drafting),
        ..options(ranks, 100)
    };
    let trace = trace(requests);
    let forwards = Simulation::new(&trace, options).unwrap().flat_map(|step| step.forwards);
    let forward = |forward: Forward| {
        let busy = forward.ranks.iter().find(|rank| rank.forward != ForwardMode::Idle);
        let counts = forward.ranks.iter().map(|rank| rank.count).collect();
        (busy.expect("somebody works").forward, counts, forward.tokens)
    };
    forwards.map(forward).collect()
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
fn prompts_wait_for_those_of_other_ranks() {
    // A rank that decodes waits with its prompt as long as the other has none, and at most three steps.
    let requests = [(0, 1, 9), (0, 1, 9), (10, 4, 1)];
    let held = |hold| {
        let trace = trace(&requests);
        let options = Options { hold, ..options(2, 8) };
        let counts = Simulation::new(&trace, options)
            .unwrap()
            .map(|step| step.counts().to_vec());
        counts.take(5).collect::<Vec<_>>()
    };
    assert_eq!(held(None), [[1, 1], [4, 1], [1, 1], [1, 1], [1, 1]]);
    let limits = HoldLimits {
        timeout_iters: 3,
        ..HoldLimits::default()
    };
    assert_eq!(held(Some(limits)), [[1, 1], [1, 1], [1, 1], [4, 1], [1, 1]]);
}

#[test]
fn a_trace_in_micro_batches_has_buffers_that_stay() {
    // Both ranks prefill twice, then decode.
    let trace = trace(&[(0, 10, 3), (0, 12, 3)]);
    let whole = serving(None, options(2, 8));
    let split = Serving {
        micro: Some(Micro::Tbo(TwoBatch::default())),
        ..whole.clone()
    };
    let summary = |serving| Summary::new(&trace, Profile::default(), serving).unwrap();
    let (whole, split) = (summary(&whole), summary(&split));
    assert_eq!((whole.split_forwards, whole.kept_bytes), (0, 0));
    // Steps of 8 + 8, 2 + 4 and twice 1 + 1 tokens, whose halves are the largest first.
    assert_eq!((split.steps, split.split_forwards), (4, 4));
    assert_eq!((split.kept_bytes, split.total_bytes), (16 * 2, 16 * 2));
    assert_eq!(split.padding_rows, 0);
    assert_eq!(whole.total_bytes, (16 + 6 + 2 + 2) * 2);
    // Two GPUs exchange eight numbers each.
    assert_eq!(split.exchanged_bytes, 4 * 2 * 64);
    assert_eq!(whole.wire_bytes, [Some(26 * 2), None, None]);
}

#[test]
fn silence_is_skipped() {
    let trace = trace(&[(0, 1, 1), (95_000, 1, 1)]);
    let steps: Vec<_> = Simulation::new(&trace, Options::default()).unwrap().collect();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1].begin, Duration::from_secs(95));
    assert!(steps[1].extend());
}

#[test]
fn requests_without_tokens_make_no_step() {
    assert_eq!(counts(&[(0, 0, 0), (50, 0, 2)], 1, 4), [[1], [1]]);
    assert!(counts(&[(0, 0, 0)], 1, 4).is_empty());
}

#[test]
fn each_prompt_of_a_chunk_has_a_row_of_logits() {
    let trace = trace(&[(0, 3, 1), (0, 2, 1), (0, 9, 1)]);
    let mut steps = Simulation::new(&trace, options(1, 7)).unwrap();
    let ranks = |step: Step| step.forwards[0].ranks.clone();
    assert_eq!(steps.next().map(ranks), Some(vec![RankStep::prefill(7, 3)]));
    assert_eq!(steps.next().map(ranks), Some(vec![RankStep::prefill(7, 1)]));
}

#[test]
fn a_prefill_and_a_decode_share_a_step_only_without_drafts() {
    use ForwardMode::{DraftDecode, DraftExtend, Extend, TargetVerify};
    let requests = [(0, 5, 9), (10, 0, 0), (10, 4, 1), (10, 6, 1)];
    assert_eq!(counts(&requests, 2, 100)[..2], [[5, 0], [4, 6]]);
    let requests = [(0, 5, 9), (10, 6, 1)];
    assert_eq!(counts(&requests, 2, 100)[..2], [[5, 0], [1, 6]]);
    let found = drafted(&requests, 2, 100);
    let busy: Vec<_> = found.iter().map(|(forward, ..)| *forward).collect();
    let decode = [DraftDecode, DraftDecode, TargetVerify, DraftExtend];
    assert_eq!(busy[..4], [Extend; 4]);
    assert_eq!(busy[4..8], decode);
    assert_eq!(found[2].2, [0, 6]);
}

#[test]
fn a_draft_extend_has_the_tokens_of_unfinished_requests_only() {
    // All drafts are right: 4 tokens a step, so 8 tokens after the first are two steps, and 3 are one.
    let found = drafted(&[(0, 2, 9), (0, 2, 4)], 1, 100);
    assert_eq!(
        found[4..6],
        [
            (ForwardMode::TargetVerify, vec![2], vec![8]),
            (ForwardMode::DraftExtend, vec![2], vec![4]),
        ]
    );
    assert_eq!(found.last(), Some(&(ForwardMode::DraftExtend, vec![1], vec![0])));
    // None is right: one token a step.
    let found = drafted(&[(0, 2, 4)], 1, 0);
    let tokens: Vec<_> = found
        .into_iter()
        .filter(|(forward, ..)| *forward == ForwardMode::DraftExtend)
        .collect();
    let one = |tokens| (ForwardMode::DraftExtend, vec![1], vec![tokens]);
    assert_eq!(tokens, [one(1), one(1), one(0)]);
}

fn serving(speculation: Option<Speculation>, options: Options) -> Serving {
    let drafting = speculation.map(|speculation| Drafting {
        speculation,
        accepted_percent: 100,
        seed: 0,
    });
    Serving {
        topology: Topology::new(options.ranks as u64, options.ranks as u64).unwrap(),
        graph_buckets: None,
        micro: None,
        padding: Padding::Rules,
        all_to_all: None,
        row_bytes: 2,
        options: Options { drafting, ..options },
    }
}

#[test]
fn no_more_is_accepted_than_was_verified() {
    // Of a tree of five levels three tokens are verified, so a step brings at most three: nine tokens after the first are
    // three steps, each with four drafts, a verification and a draft-extend, after a prefill of both models.
    let tree = Speculation::new(4, 5, 3).unwrap();
    let comparison = TraceComparison::new(&trace(&[(0, 2, 10)]), &serving(Some(tree), options(1, 100))).unwrap();
    for summary in comparison.summaries() {
        assert_eq!(
            (summary.steps, summary.forwards),
            (1 + 3, 2 + 3 * 6),
            "{}",
            summary.profile
        );
    }
}

#[test]
fn options_out_of_their_ranges_are_refused() {
    let trace = trace(&[(0, 1, 1)]);
    let new = |options: Options| Simulation::new(&trace, options).unwrap_err();
    let zero = |field| SimulationError::Plan(PlanError::Zero { field });
    assert_eq!(new(options(0, 1)), zero("ranks"));
    assert_eq!(new(options(1, 0)), zero("chunk"));
    let step = Duration::ZERO;
    assert_eq!(new(Options { step, ..options(1, 1) }), zero("step"));
    for ranks in [MAX_RANKS as usize + 1, usize::MAX] {
        assert!(matches!(
            new(options(ranks, 1)),
            SimulationError::Plan(PlanError::TooManyRanks { field: "ranks", .. })
        ));
    }
    for chunk in [MAX_ROWS + 1, u64::MAX] {
        assert!(matches!(
            new(options(1, chunk)),
            SimulationError::Plan(PlanError::TooLarge { field: "chunk", .. })
        ));
    }
    let drafting = Some(Drafting {
        speculation: Speculation::new(1, 3, 4).unwrap(),
        accepted_percent: 101,
        seed: 0,
    });
    assert_eq!(
        new(Options {
            drafting,
            ..options(1, 1)
        }),
        SimulationError::TooManyAccepted { percent: 101 }
    );
    let widest = options(MAX_RANKS as usize, MAX_ROWS);
    assert_eq!(Simulation::new(&trace, widest).unwrap().count(), 1);
}

#[test]
fn a_summary_stops_where_it_is_limited() {
    // A prompt in four chunks and two decode steps, and as many of another request: twelve steps, of two ranks.
    let trace = trace(&[(0, 4, 3), (1000, 4, 3)]);
    let summary = |steps, work| {
        let limits = Limits { steps, work };
        let summary = Summary::within(&limits, &trace, Profile::Base8277, &serving(None, options(2, 1)));
        summary.map(|summary| summary.steps)
    };
    // A unit for each rank of each step, and one for each request that decodes.
    let work = 12 * 2 + 4;
    assert_eq!(summary(12, work), Ok(12));
    assert_eq!(summary(11, work), Err(SimulationError::TooManySteps));
    assert_eq!(summary(12, work - 1), Err(SimulationError::TooMuchWork));
}

#[test]
fn a_trace_that_takes_hours_is_refused_in_time() {
    // One request of so many tokens that its steps would never end.
    let endless = trace(&[(0, u64::MAX, u64::MAX)]);
    let error = Summary::new(&endless, Profile::Base8277, &serving(None, options(1, 1))).unwrap_err();
    assert_eq!(error, SimulationError::TooManySteps);
    // The most of everything.
    let widest = Speculation::new(1, 255, 256).unwrap();
    let all = serving(Some(widest), options(MAX_RANKS as usize, MAX_ROWS));
    let long = trace(&[(0, 1, MAX_STEPS * 100)]);
    assert_eq!(
        Summary::new(&long, Profile::Base8277, &all),
        Err(SimulationError::TooMuchWork)
    );
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

    #[test]
    fn no_version_is_given_more_rows_than_it_planned(
        mut requests in prop::collection::vec((0u64..300, 0u64..50, 0u64..30), 1..20),
        (topk, steps, tokens) in (1u64..5, 1u64..9, 0u64..1000),
        ranks in 1usize..5,
    ) {
        requests.sort();
        let most = topk + (steps - 1) * topk * topk + 1;
        let draft_tokens = if topk == 1 { steps + 1 } else { 1 + tokens % most.min(MAX_SPECULATION) };
        let speculation = Speculation::new(topk, steps, draft_tokens).unwrap();
        let comparison = TraceComparison::new(&trace(&requests), &serving(Some(speculation), options(ranks, 64))).unwrap();
        for summary in comparison.summaries() {
            prop_assert!(summary.padding_rows <= summary.rows);
        }
        let options = serving(Some(speculation), options(ranks, 64)).options;
        for forward in Simulation::new(&trace(&requests), options).unwrap().flat_map(|step| step.forwards) {
            for (rank, tokens) in forward.ranks.iter().zip(forward.tokens) {
                let most = match rank.forward {
                    ForwardMode::DraftExtend => draft_tokens.min(steps + 1) * rank.count,
                    ForwardMode::TargetVerify => draft_tokens * rank.count,
                    ForwardMode::DraftDecode => topk * rank.count,
                    _ => rank.count,
                };
                prop_assert!(tokens <= most, "{:?}: {} of {}", rank, tokens, most);
            }
        }
    }

    #[test]
    fn drafts_never_bring_more_rows_than_were_planned(
        mut requests in prop::collection::vec((0u64..300, 0u64..50, 0u64..30), 1..40),
        ranks in 1usize..5,
        percent in 0u64..=100,
    ) {
        requests.sort();
        for (forward, counts, tokens) in drafted(&requests, ranks, percent) {
            for (count, tokens) in counts.into_iter().zip(tokens) {
                let planned = match forward {
                    ForwardMode::TargetVerify | ForwardMode::DraftExtend => 4 * count,
                    _ => count,
                };
                prop_assert!(tokens <= planned);
                prop_assert!(forward == ForwardMode::DraftExtend || tokens == planned);
            }
        }
    }
}
