//! How long planning takes: `cargo test --release -p tilewright-dp --test plan_speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tilewright_dp::plan::{Plan, Request, capture_sizes};

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
