//! `tilewright plan --compare --trace`: what every version needs for a whole trace.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use tilewright::dp::plan::{PlanError, Request, Speculation, Topology};
use tilewright::dp::simulate::{Drafting, Options, Serving, TraceComparison};
use tilewright::dp::trace::Trace;

use super::{Arguments, Buckets, CommandError, default_buckets};

/// What the steps of a trace decide themselves.
const OF_ONE_STEP: [&str; 12] = [
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
];

/// How a trace is served.
#[derive(Args)]
pub struct TraceArguments {
    /// Serves a request trace instead of one step: CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens. The ranks
    /// are 8 unless --dp says otherwise
    #[arg(long, value_name = "FILE", requires = "compare", conflicts_with_all = OF_ONE_STEP)]
    trace: Option<PathBuf>,
    /// The most prompt tokens that a rank prefills in a step [default: 4096]
    #[arg(long, requires = "trace", value_parser = clap::value_parser!(u64).range(1..))]
    chunk: Option<u64>,
    /// How long a step takes, in milliseconds [default: 30]
    #[arg(long, requires = "trace", value_name = "TIME", value_parser = clap::value_parser!(u64).range(1..))]
    step_ms: Option<u64>,
    /// Decodes speculatively: branches, draft steps and draft tokens, as in 1,3,4
    #[arg(long, requires = "trace", value_name = "WIDTHS")]
    speculate: Option<Widths>,
    /// Of 100 drafted tokens, how many are accepted if all before were [default: 70]
    #[arg(long, requires = "speculate", value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(..=100))]
    accept: Option<u64>,
}

/// The widths of speculative decoding.
#[derive(Clone)]
struct Widths(Speculation);

impl FromStr for Widths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let widths: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        match widths.as_deref() {
            Ok(&[topk, steps, draft_tokens]) if topk.min(steps).min(draft_tokens) > 0 => Ok(Self(Speculation {
                topk,
                steps,
                draft_tokens,
            })),
            _ => Err("three numbers of at least 1 are needed: branches, draft steps, draft tokens".to_owned()),
        }
    }
}

/// Compares the versions if a trace is given, and draws if asked to.
pub(super) fn compare(arguments: &Arguments) -> Result<Option<String>, CommandError> {
    let Some(file) = &arguments.trace.trace else {
        return Ok(None);
    };
    let trace = Trace::read(file)?;
    let comparison = TraceComparison::new(&trace, &serving(arguments)?)?;
    if let Some(file) = &arguments.svg {
        write(file, &comparison.svg())?;
    }
    let requests = trace.requests().len();
    Ok(Some(format!("{requests} requests, {comparison}")))
}

fn serving(arguments: &Arguments) -> Result<Serving, PlanError> {
    let (given, default) = (&arguments.trace, Options::default());
    let dp = arguments.dp.unwrap_or(default.ranks as u64);
    let attention_tp = arguments.attn_tp.unwrap_or(1);
    let tp = dp.checked_mul(attention_tp).ok_or(PlanError::TooLarge {
        field: "attn_tp",
        value: attention_tp,
    })?;
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
        topology: Topology::new(tp, dp)?,
        graph_buckets: Some(buckets),
        row_bytes: arguments.row_bytes.unwrap_or(Request::new(Vec::new(), dp).row_bytes),
        options: Options {
            chunk: given.chunk.unwrap_or(default.chunk),
            step: given.step_ms.map_or(default.step, Duration::from_millis),
            drafting,
            ..default
        },
    })
}

pub(super) fn write(file: &Path, image: &str) -> Result<(), CommandError> {
    fs::write(file, image).map_err(|source| CommandError::Svg {
        file: file.to_owned(),
        source,
    })
}
