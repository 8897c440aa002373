//! `tilewright plan`: requests in, plans out.

mod trace;

use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use tilewright::dp::counts::{self, CountsError};
use tilewright::dp::draw;
use tilewright::dp::plan::{Comparison, Plan, PlanError, Profile, Request, capture_sizes};
use tilewright::dp::trace::TraceError;
use trace::TraceArguments;

/// What the command line asks for. The flags of a request have the names of its JSON fields.
#[derive(Args)]
#[command(group = ArgGroup::new("given").args(["raw", "trace"]))]
#[command(group = ArgGroup::new("captured").args(["graph_ok", "trace"]))]
pub struct Arguments {
    /// Reads one request or an array of requests from standard input, and prints an array of plans in the same order
    #[arg(long, conflicts_with_all = ["raw", "profile"])]
    json: bool,
    /// Counts of each rank, separated by commas, tokens where a rank prefills and requests otherwise: 20,20,0,7
    #[arg(
        long,
        value_name = "COUNTS",
        allow_hyphen_values = true,
        required_unless_present_any = ["json", "trace"],
        conflicts_with = "trace"
    )]
    raw: Option<Counts>,
    /// Whose rules to follow
    #[arg(long, requires = "raw", value_parser = profile_parser(), default_value = Profile::default().name())]
    profile: Profile,
    /// Plans by the rules of every version, side by side
    #[arg(long, requires = "given", conflicts_with = "profile")]
    compare: bool,
    /// Also prints why the plan is as it is
    #[arg(long, requires = "raw", conflicts_with = "compare")]
    explain: bool,
    /// Also draws the buffer, or with --trace what is allocated over time, as an SVG image
    #[arg(long, value_name = "FILE", requires = "given")]
    svg: Option<PathBuf>,
    /// Data-parallel ranks [default: as many as there are counts]
    #[arg(long, requires = "given")]
    dp: Option<u64>,
    /// GPUs that share one rank's attention [default: 1]
    #[arg(long, requires = "given")]
    attn_tp: Option<u64>,
    /// Tokens per count in this forward [default: 1]
    #[arg(long, requires = "raw")]
    coef: Option<u64>,
    /// Rows per count at the logits stage [default: as --coef]
    #[arg(long, requires = "raw")]
    coef_lp: Option<u64>,
    /// Counts of the logits stage [default: as --raw]
    #[arg(long, value_name = "COUNTS", allow_hyphen_values = true, requires = "raw")]
    raw_lp: Option<Counts>,
    /// A rank prefills
    #[arg(long, requires = "raw")]
    extend: bool,
    /// Context parallelism splits a rank's rows into a multiple of this [default: 1]
    #[arg(long, requires = "raw")]
    cp_align: Option<u64>,
    /// Every rank voted for a graph
    #[arg(long, requires = "raw")]
    graph_ok: bool,
    /// Batch sizes that were captured: `decode` or `spec` for an engine's default up to 256, or sizes separated by commas
    /// [default: decode, and with --speculate spec]
    #[arg(long, value_name = "SIZES", requires = "captured")]
    graph_buckets: Option<Buckets>,
    /// The model is a hybrid, whose ranks without tokens join a prefill padded to the longest
    #[arg(long, requires = "raw")]
    hybrid_idle: bool,
    /// The experts' all-to-all needs equal ranks
    #[arg(long, requires = "raw")]
    force_max: bool,
    /// A rank is just joining an elastic group
    #[arg(long, requires = "raw")]
    elastic_join: bool,
    /// Prompt lengths whose prefill was captured and that every rank voted for, separated by commas
    #[arg(long, value_name = "SIZES", requires = "extend")]
    prefill_buckets: Option<Counts>,
    /// Bytes of one hidden state [default: 14336, that is 7168 bfloat16]
    #[arg(long, requires = "given")]
    row_bytes: Option<u64>,
    #[command(flatten)]
    trace: TraceArguments,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Standard input or output failed.
    #[error("standard input or output: {0}")]
    Io(#[from] io::Error),
    /// Standard input is not what was asked for.
    #[error("standard input is neither a request nor an array of requests: {0}")]
    Json(#[from] serde_json::Error),
    /// A request of an array has no plan.
    #[error("request {index}, counted from 0: {source}")]
    Request { index: usize, source: PlanError },
    /// The request of the command line has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A buffer is drawn of one version only.
    #[error("--svg draws the buffer of one version: leave out --compare, or compare over a --trace")]
    ComparisonDrawn,
    /// There is nothing to plan.
    #[error("there are no counts; give them with --raw, or requests with --json")]
    NoCounts,
    /// The picture cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Svg { file: PathBuf, source: io::Error },
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let text = if arguments.json {
        json(&io::read_to_string(io::stdin().lock())?)?
    } else if let Some(text) = trace::compare(arguments)? {
        text
    } else {
        from_flags(arguments)?
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The plans of requests, one a line.
fn json(input: &str) -> Result<String, CommandError> {
    let requests: Vec<Request> = if input.trim_start().starts_with('[') {
        serde_json::from_str(input)?
    } else {
        vec![serde_json::from_str(input)?]
    };
    let plan = |(index, request): (usize, &Request)| {
        let plan = Plan::new(request).map_err(|source| CommandError::Request { index, source })?;
        Ok(serde_json::to_string(&plan)?)
    };
    let plans = requests.iter().enumerate().map(plan);
    let plans = plans.collect::<Result<Vec<_>, CommandError>>()?;
    Ok(format!("[\n{}\n]\n", plans.join(",\n")))
}

/// A table for people.
fn from_flags(arguments: &Arguments) -> Result<String, CommandError> {
    let request = arguments.request().ok_or(CommandError::NoCounts)?;
    if arguments.compare && arguments.svg.is_some() {
        return Err(CommandError::ComparisonDrawn);
    }
    if arguments.compare {
        return Ok(Comparison::new(&request)?.to_string());
    }
    let plan = Plan::new(&request)?;
    if let Some(file) = &arguments.svg {
        trace::write(file, &draw::svg(plan.layout()))?;
    }
    let mut text = plan.to_string();
    if arguments.explain {
        text = format!("{text}\n{}", plan.explain());
    }
    Ok(text)
}

impl Arguments {
    fn request(&self) -> Option<Request> {
        let raw = self.raw.as_ref()?.0.clone();
        let dp = self.dp.unwrap_or(raw.len() as u64);
        let default = Request::new(raw, dp);
        let captured = || match &self.graph_buckets {
            Some(Buckets(sizes)) => sizes.clone(),
            None => default_buckets(false),
        };
        Some(Request {
            profile: self.profile,
            attn_tp: self.attn_tp.unwrap_or(default.attn_tp),
            coef: self.coef.unwrap_or(default.coef),
            coef_lp: self.coef_lp,
            raw_lp: self.raw_lp.as_ref().map(|counts| counts.0.clone()),
            extend: self.extend,
            cp_align: self.cp_align.unwrap_or(default.cp_align),
            graph_buckets: self.graph_ok.then(captured),
            graph_ok: self.graph_ok,
            hybrid_idle: self.hybrid_idle,
            force_max: self.force_max,
            elastic_join: self.elastic_join,
            prefill_buckets: self.prefill_buckets.as_ref().map(|sizes| sizes.0.clone()),
            row_bytes: self.row_bytes.unwrap_or(default.row_bytes),
            ..default
        })
    }
}

fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::name)).try_map(|name| name.parse::<Profile>())
}

/// Counts as one argument; clap would take a plain list for an argument that repeats.
#[derive(Clone)]
struct Counts(Vec<u64>);

impl FromStr for Counts {
    type Err = CountsError;

    fn from_str(text: &str) -> Result<Self, CountsError> {
        counts::parse(text).map(Self)
    }
}

/// Batch sizes of captured graphs.
#[derive(Clone)]
struct Buckets(Vec<u64>);

/// What most engines of today capture: a GPU with over 90 GiB.
fn default_buckets(speculative: bool) -> Vec<u64> {
    capture_sizes(speculative, 256)
}

impl FromStr for Buckets {
    type Err = CountsError;

    fn from_str(text: &str) -> Result<Self, CountsError> {
        Ok(Self(match text {
            "decode" => default_buckets(false),
            "spec" => default_buckets(true),
            _ => counts::parse(text)?,
        }))
    }
}
