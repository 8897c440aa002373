//! Traces as CSV.

use std::time::Duration;

use fastrand::Rng;
use tilewright_dp::plan::micro::{DualBatch, Micro, Runner, TwoBatch};
use tilewright_dp::plan::{AllToAll, HoldLimits, MAX_RANKS, Padding, Speculation, Topology, capture_sizes};
use tilewright_dp::simulate::{Drafting, Options, Serving, Simulation, TraceComparison};
use tilewright_dp::trace::{Request, Trace};

use crate::damage::{NUMBERS, damage};
use crate::{Read, try_all};

/// Traces of more tokens than this are served for a few steps only.
const SMALL: u64 = 200;

#[test]
fn no_trace_panics_or_takes_long() {
    try_all("traces", |rng| {
        let mut bytes = trace(rng).into_bytes();
        if rng.u8(0..4) > 0 {
            damage(rng, &mut bytes);
        }
        match Trace::parse(bytes.as_slice(), "trace.csv") {
            Ok(trace) => {
                serve(rng, &trace);
                Read::Accepted
            }
            Err(error) => {
                assert!(error.to_string().len() < 1000);
                Read::Refused
            }
        }
    });
}

/// A well-formed trace, whose values are now and then extreme.
fn trace(rng: &mut Rng) -> String {
    let mut columns = ["TIMESTAMP", "ContextTokens", "GeneratedTokens", "Model"];
    let order = rng.u8(0..3);
    if order == 0 {
        rng.shuffle(&mut columns);
    }
    let mark = if rng.u8(0..9) == 0 { "\u{feff}" } else { "" };
    let end = if rng.u8(0..4) == 0 { "\r\n" } else { "\n" };
    let mut text = format!("{mark}{}{end}", columns.join(","));
    for _ in 0..rng.usize(1..6) {
        let values = columns.map(|column| match column {
            "TIMESTAMP" => time(rng),
            "Model" => ["", "a", "\"a,b\"", "\"a\nb\""][rng.usize(0..4)].to_owned(),
            _ => match rng.u8(0..60) {
                0 => NUMBERS[rng.usize(0..NUMBERS.len())].to_owned(),
                _ => rng.u64(0..30).to_string(),
            },
        });
        text += &format!("{}{end}", values.join(","));
    }
    text
}

fn time(rng: &mut Rng) -> String {
    let year = match rng.u8(0..40) {
        0 => ["1", "9999", "999999999"][rng.usize(0..3)],
        _ => "2023",
    };
    let (day, second) = (rng.u8(1..29), rng.u8(0..60));
    let day = if rng.bool() { 16 } else { day };
    let fraction = ["", ".5", ".6805900", ".123456789"][rng.usize(0..4)];
    format!("{year}-02-{day:02} 18:15:{second:02}{fraction}")
}

/// How steps are split.
fn micro(rng: &mut Rng) -> Option<Micro> {
    match rng.u8(0..4) {
        0 => Some(Micro::Tbo(TwoBatch {
            prompts: None,
            two_chunk_percent: rng.u64(0..52),
        })),
        1 => Some(Micro::Dbo(DualBatch {
            batches: rng.u64(1..5),
            decode_threshold: rng.u64(0..4),
            prefill_threshold: rng.u64(0..10),
            runner: [Runner::V1, Runner::V2][rng.usize(0..2)],
        })),
        _ => None,
    }
}

/// Serves a trace by the rules of every version if it is small, and the beginning of any.
fn serve(rng: &mut Rng, trace: &Trace) {
    let few = 1 + rng.usize(0..4);
    let ranks = [few, few, few, MAX_RANKS as usize, usize::MAX, 0][rng.usize(0..6)];
    let speculation = Speculation::new(rng.u64(0..4), rng.u64(0..6), rng.u64(0..9));
    let options = Options {
        ranks,
        chunk: [rng.u64(0..40), 4096, u64::MAX][rng.usize(0..3)],
        step: [
            Duration::from_millis(30),
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::MAX,
        ][rng.usize(0..4)],
        drafting: speculation.ok().map(|speculation| Drafting {
            speculation,
            accepted_percent: rng.u64(0..=101),
            seed: rng.u64(..),
        }),
        hold: (rng.u8(0..3) == 0).then(|| HoldLimits {
            timeout_iters: rng.u64(0..4),
            batching_wait_iters: rng.u64(0..4),
            max_batch: rng.u64(0..4),
            threshold: rng.u64(0..3),
            low_limit: rng.u64(0..3),
        }),
        mixed: rng.bool(),
        bound: (rng.u8(0..3) == 0).then(|| rng.u64(0..20)),
    };
    if let Ok(simulation) = Simulation::new(trace, options) {
        let steps = if ranks == few { 50 } else { 1 };
        for forward in simulation.take(steps).flat_map(|step| step.forwards) {
            assert!(forward.ranks.len() == ranks && forward.tokens.len() == ranks);
        }
    }
    let tokens = trace
        .requests()
        .iter()
        .map(|request| request.context_tokens + request.generated_tokens);
    // What never ends is refused before it begins, if drafts do not make it shorter.
    let is_endless = |request: &Request| options.drafting.is_none() && request.generated_tokens > 1 << 23;
    let endless = trace.requests().iter().any(is_endless);
    if ranks != few || (tokens.sum::<u64>() > SMALL && !endless) {
        return;
    }
    let Ok(topology) = Topology::of_ranks(ranks as u64, rng.u64(0..5)) else {
        return;
    };
    let serving = Serving {
        topology,
        graph_buckets: rng.bool().then(|| capture_sizes(rng.bool(), rng.u64(0..40))),
        row_bytes: [2, 14336, u64::MAX][rng.usize(0..3)],
        micro: micro(rng),
        padding: Padding::ALL[rng.usize(0..3)],
        all_to_all: (rng.u8(0..4) == 0).then(|| AllToAll::FlashInfer {
            capacity: rng.u64(0..99),
        }),
        options,
    };
    if let Ok(comparison) = TraceComparison::new(trace, &serving) {
        for summary in comparison.summaries() {
            assert!(summary.split_forwards <= summary.forwards);
            assert!(summary.padding_rows <= summary.rows && summary.graph_forwards <= summary.forwards);
        }
        assert!(comparison.to_string().contains("steps"));
        assert!(comparison.svg().ends_with("</svg>\n"));
    }
}
