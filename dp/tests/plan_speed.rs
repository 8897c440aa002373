//! How long planning takes: `cargo test --release -p tilewright-dp --test plan_speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tilewright_dp::plan::micro::{Micro, TwoBatch};
use tilewright_dp::plan::{HoldLimits, Plan, Profile, Request, Topology, capture_sizes};
use tilewright_dp::simulate::{Options, Serving, Summary};
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
    for (name, serving) in [
        ("whole steps", whole),
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
