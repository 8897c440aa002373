//! How long planning takes: `cargo test --release -p tilewright-dp --test plan_speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tilewright_dp::plan::exchange::{ExchangeForm, Told};
use tilewright_dp::plan::micro::{DualBatch, Micro, Runner, TwoBatch};
use tilewright_dp::plan::{
    AllToAll, Bound, ExpertBound, HoldLimits, MixedStep, Padding, Phase, Plan, Profile, Request, Speculation, Topology,
    WireFormat, capture_sizes,
};
use tilewright_dp::simulate::{Drafting, Options, Serving, Summary};
use tilewright_dp::trace::{self, Trace};

/// The median time of one plan over rounds of many, which other work on the machine disturbs least.
fn time_of_a_plan(request: &Request) -> Duration {
    const ROUNDS: usize = 101;
    const PLANS: u32 = 1000;
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..PLANS {
                black_box(Plan::new(black_box(request)).unwrap());
            }
            started.elapsed() / PLANS
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

#[test]
#[ignore = "a measurement, for the release profile"]
fn a_plan_of_32_ranks_takes_under_5_microseconds() {
    let counts: Vec<u64> = (0..32).map(|rank| rank * 37 % 101).collect();
    let eager = Request::new(counts, 32);
    let graph = Request {
        graph_ok: true,
        graph_buckets: Some(capture_sizes(false, 256)),
        ..eager.clone()
    };
    let prefill = Request {
        extend: true,
        attn_tp: 4,
        ..eager.clone()
    };
    for (name, request) in [
        ("eager decode", eager),
        ("decode in a graph", graph),
        ("prefill", prefill),
    ] {
        let time = time_of_a_plan(&request);
        let per_second = Duration::from_secs(1).as_nanos() / time.as_nanos().max(1);
        println!("{name}, 32 ranks: {time:?} a plan, {per_second} plans per second on one core");
        assert!(time < Duration::from_micros(5), "{name}: {time:?}");
        // What a scheduler needs is far less.
        assert!(per_second >= 10_000);
    }
}

/// Prefill and verification in one step, with everything that a plan can tell of it, and a plan from a bound.
fn everything(ranks: u64) -> [(&'static str, Request); 3] {
    // So equal that two micro-batches hold a token of every rank.
    let counts: Vec<u64> = (0..ranks).map(|rank| 80 + rank * 37 % 61).collect();
    let wire = Some(WireFormat::Nvfp4);
    let mixed = MixedStep {
        prefills: (0..ranks).map(|rank| rank % 3 == 0).collect(),
        phase: Phase::Target,
        draft_width: 1,
        verify_width: 4,
        local: None,
    };
    let exchanged = Request {
        mixed: Some(mixed),
        micro: Some(Micro::Dbo(DualBatch {
            prefill_threshold: 32,
            runner: Runner::V2,
            ..DualBatch::default()
        })),
        shards: Some(counts.iter().map(|&count| vec![count / 2, count / 3]).collect()),
        raw_lp: Some(counts.clone()),
        wire,
        experts_per_token: Some(8),
        all_to_all: Some(AllToAll::flash_infer(8192)),
        ep: Some(ranks),
        symmetric: true,
        padding: Padding::WhenNeeded,
        ..Request::new(counts.clone(), ranks)
    };
    let bounded = Request {
        bound: Some(Bound {
            rows: 160,
            experts: Some(ExpertBound::new(8, 32, 160)),
        }),
        graph_ok: true,
        graph_buckets: Some(capture_sizes(false, 256)),
        wire,
        experts_per_token: Some(8),
        ep: Some(ranks),
        symmetric: true,
        ..Request::new(counts, ranks)
    };
    let told = Request {
        exchange: Some(Told {
            form: ExchangeForm::Vllm4,
            words: exchanged.raw.iter().map(|&count| vec![count, count, 1, 0]).collect(),
            dead: Vec::new(),
        }),
        micro: Some(Micro::Dbo(DualBatch::default())),
        mixed: None,
        all_to_all: None,
        padding: Padding::Rules,
        ..exchanged.clone()
    };
    [
        ("everything", exchanged),
        ("everything from what ranks told", told),
        ("everything from a bound", bounded),
    ]
}

#[test]
#[ignore = "a measurement, for the release profile"]
fn a_plan_with_everything_on_takes_microseconds() {
    for (ranks, most) in [(32, 5), (1024, 100)] {
        for (name, request) in everything(ranks) {
            let plan = Plan::new(&request).unwrap();
            assert!(plan.bound().is_some() || (plan.parts().len() == 2 && plan.shards().is_some()));
            let time = time_of_a_plan(&request);
            println!("{name}, {ranks} ranks: {time:?} a plan");
            assert!(time < Duration::from_micros(most), "{name}, {ranks} ranks: {time:?}");
        }
    }
}

/// A trace of short prompts and long answers, many of whose steps have all ranks decode.
fn trace() -> Trace {
    let request = |index: u64| trace::Request {
        arrival: Duration::from_millis(index * 180),
        context_tokens: 100 + index * 37 % 3000,
        generated_tokens: 50 + index * 53 % 400,
    };
    Trace::new((0..20_000).map(request).collect()).unwrap()
}

#[test]
#[ignore = "a measurement, for the release profile"]
fn a_hundred_thousand_steps_of_a_trace_take_under_a_second() {
    let trace = trace();
    let whole = Serving {
        topology: Topology::new(8, 8).unwrap(),
        graph_buckets: Some(capture_sizes(false, 256)),
        row_bytes: 14336,
        micro: None,
        padding: Padding::Rules,
        all_to_all: None,
        options: Options::default(),
    };
    let split = Serving {
        micro: Some(Micro::Tbo(TwoBatch::default())),
        ..whole.clone()
    };
    let held = Serving {
        options: Options {
            hold: Some(HoldLimits::default()),
            ..split.options
        },
        ..split.clone()
    };
    let padded = Serving {
        padding: Padding::WhenNeeded,
        ..whole.clone()
    };
    let bounded = Serving {
        options: Options {
            bound: Some(256),
            ..whole.options
        },
        ..whole.clone()
    };
    let mixed = Serving {
        options: Options {
            mixed: true,
            drafting: Some(Drafting {
                speculation: Speculation::new(1, 3, 4).unwrap(),
                accepted_percent: 70,
                seed: 0,
            }),
            ..whole.options
        },
        ..whole.clone()
    };
    for (name, serving) in [
        ("whole steps", whole),
        ("drafts in steps that prefill", mixed),
        ("no padding", padded),
        ("from a bound", bounded),
        ("split steps", split),
        ("split steps, prompts held", held),
    ] {
        let started = Instant::now();
        let summary = black_box(Summary::new(&trace, Profile::default(), &serving).unwrap());
        let per_second = summary.steps as f64 / started.elapsed().as_secs_f64();
        println!("{name}: {} steps, {per_second:.0} a second on one core", summary.steps);
        assert!(per_second >= 100_000.0, "{name}: {per_second:.0}");
    }
}
