//! `tilewright plan --compare --trace`: what every version needs for a whole trace.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use tilewright::dp::plan::{HoldLimits, MAX_SPECULATION, PlanError, Request, Speculation, Topology};
use tilewright::dp::simulate::{Drafting, Options, Serving, TraceComparison};
use tilewright::dp::trace::Trace;

use super::{Arguments, Buckets, default_buckets, step};
use crate::error::CommandError;
use crate::output;

/// What the steps of a trace decide themselves.
const OF_ONE_STEP: [&str; 16] = [
    "json",
    "explain",
    "coef",
    "coef_lp",
    "raw_lp",
    "extend",
    "cp_align",
    "graph_ok",
    "hybrid_idle",
    "force_max",
    "elastic_join",
    "prefill_buckets",
    "prompts",
    "shards",
    "wire",
    "experts_per_token",
];

/// How a trace is served.
#[derive(Args)]
pub struct TraceArguments {
    /// Serves a request trace instead of one step: CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens. The ranks
    /// are 8 unless --dp says otherwise
    #[arg(long, value_name = "FILE", requires = "compare")]
    #[arg(conflicts_with_all = OF_ONE_STEP, conflicts_with_all = step::OF_ONE_STEP)]
    trace: Option<PathBuf>,
    /// The most prompt tokens that a rank prefills in a step [default: 4096]
    #[arg(long, requires = "trace", value_parser = clap::value_parser!(u64).range(1..))]
    chunk: Option<u64>,
    /// How long a step takes, in milliseconds [default: 30]
    #[arg(long, requires = "trace", value_name = "TIME", value_parser = clap::value_parser!(u64).range(1..))]
    step_ms: Option<u64>,
    /// Decodes speculatively: branches, draft steps and draft tokens, as in 1,3,4. With one branch the draft tokens are the
    /// steps and one more
    #[arg(long, requires = "trace", value_name = "WIDTHS", allow_hyphen_values = true)]
    speculate: Option<Widths>,
    /// Of 100 drafted tokens, how many are accepted if all before were [default: 70]
    #[arg(long, requires = "speculate", value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(..=100))]
    accept: Option<u64>,
    /// Lets ranks that prefill and ranks that decode speculatively share steps, where the version can
    #[arg(long, requires = "speculate")]
    mixed: bool,
    /// Holds prompts back until all ranks have some: for how many steps at most, and for how many steps more to come [default:
    /// they wait for nothing]
    #[arg(long, requires = "trace", value_name = "STEPS,STEPS")]
    hold: Option<Waits>,
}

/// How long prompts wait as one argument.
#[derive(Clone)]
struct Waits(HoldLimits);

/// Waits that are none.
#[derive(Debug, thiserror::Error)]
#[error(
    "two whole numbers are needed: steps that prompts wait for those of other ranks, and for more of them, as in 50,10"
)]
struct WaitsError;

impl FromStr for Waits {
    type Err = WaitsError;

    fn from_str(text: &str) -> Result<Self, WaitsError> {
        let waits: Result<Vec<u64>, _> = text.split(',').map(|wait| wait.trim().parse()).collect();
        match waits.as_deref() {
            Ok(&[timeout_iters, batching_wait_iters]) => Ok(Self(HoldLimits {
                timeout_iters,
                batching_wait_iters,
                ..HoldLimits::default()
            })),
            _ => Err(WaitsError),
        }
    }
}

/// The widths of speculative decoding as one argument.
#[derive(Clone)]
struct Widths(Speculation);

/// Widths that are none.
#[derive(Debug, thiserror::Error)]
enum WidthsError {
    #[error("three whole numbers up to {MAX_SPECULATION} are needed: branches, draft steps, draft tokens")]
    NotThree,
    #[error(transparent)]
    Contradiction(#[from] PlanError),
}

impl FromStr for Widths {
    type Err = WidthsError;

    fn from_str(text: &str) -> Result<Self, WidthsError> {
        let widths: Result<Vec<u64>, _> = text.split(',').map(|width| width.trim().parse()).collect();
        match widths.as_deref() {
            Ok(&[topk, steps, draft_tokens]) => Ok(Self(Speculation::new(topk, steps, draft_tokens)?)),
            _ => Err(WidthsError::NotThree),
        }
    }
}

/// Compares the versions if a trace is given, and draws if asked to.
pub(super) fn compare(arguments: &Arguments) -> Result<Option<String>, CommandError> {
    let Some(file) = &arguments.trace.trace else {
        return Ok(None);
    };
    if arguments.svg.as_ref().is_some_and(|svg| is_one_file(svg, file)) {
        return Err(CommandError::TraceOverwritten);
    }
    let serving = serving(arguments)?;
    let trace = Trace::read(file)?;
    let comparison = TraceComparison::new(&trace, &serving)?;
    if let Some(file) = &arguments.svg {
        output::write(file, &comparison.svg())?;
    }
    let requests = trace.requests().len();
    Ok(Some(format!("{requests} requests, {comparison}")))
}

fn serving(arguments: &Arguments) -> Result<Serving, PlanError> {
    let (given, default) = (&arguments.trace, Options::default());
    let dp = arguments.dp.unwrap_or(default.ranks as u64);
    let drafting = given.speculate.as_ref().map(|widths| Drafting {
        speculation: widths.0,
        accepted_percent: given.accept.unwrap_or(70),
        seed: 0,
    });
    let buckets = match &arguments.graph_buckets {
        Some(Buckets(sizes)) => sizes.clone(),
        None => default_buckets(drafting.is_some()),
    };
    Ok(Serving {
        topology: Topology::of_ranks(dp, arguments.attn_tp.unwrap_or(1))?,
        graph_buckets: Some(buckets),
        row_bytes: arguments.row_bytes.unwrap_or(Request::new(Vec::new(), dp).row_bytes),
        micro: arguments.micro(),
        padding: arguments.step.padding(),
        all_to_all: arguments.step.all_to_all(false),
        options: Options {
            chunk: given.chunk.unwrap_or(default.chunk),
            step: given.step_ms.map_or(default.step, Duration::from_millis),
            drafting,
            hold: given.hold.as_ref().map(|waits| waits.0),
            mixed: given.mixed,
            bound: arguments.step.bound().map(|bound| bound.rows),
            ..default
        },
    })
}

fn is_one_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
