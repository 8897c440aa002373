//! `tilewright plan`: requests in, plans out.

mod json;
mod step;
mod trace;

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};
pub use json::MAX_BYTES as MAX_JSON_BYTES;
use step::StepArguments;
use tilewright::dp::counts::{self, CountsError, SizesError};
use tilewright::dp::draw;
use tilewright::dp::plan::micro::{DualBatch, Micro, TwoBatch};
use tilewright::dp::plan::{Comparison, Plan, Profile, Request, WireFormat, capture_sizes};
use trace::TraceArguments;

use crate::error::CommandError;
use crate::output;

/// What the command line asks for. The flags of a request have the names of its JSON fields.
#[derive(Args)]
#[command(group = ArgGroup::new("given").args(["raw", "trace"]))]
#[command(group = ArgGroup::new("prefilling").args(["extend", "exchange"]).multiple(true))]
#[command(group = ArgGroup::new("captured").args(["graph_ok", "exchange", "trace"]))]
pub struct Arguments {
    /// Reads one request or an array of requests from standard input, up to 16 MiB of JSON, and prints an array of plans in
    /// the same order
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
    /// Rows per count at the logits stage, at most --coef [default: as --coef]
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
    /// Every rank voted for a decode graph; one that prefills does not
    #[arg(long, requires = "raw", conflicts_with = "extend")]
    graph_ok: bool,
    /// Batch sizes that were captured: `decode` or `spec` for an engine's default up to 256, or sizes separated by commas
    /// [default: decode, and with --speculate spec]
    #[arg(long, value_name = "SIZES", allow_hyphen_values = true, requires = "captured")]
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
    /// Token counts of captured prefill graphs, for which every rank voted, separated by commas; other than those of decode
    /// graphs, --attn-tp need not divide them
    #[arg(long, value_name = "SIZES", allow_hyphen_values = true, requires = "prefilling")]
    prefill_buckets: Option<Sizes>,
    /// Bytes of one hidden state [default: 14336, that is 7168 bfloat16]
    #[arg(long, requires = "given")]
    row_bytes: Option<u64>,
    /// Splits steps into micro-batches: `tbo` as SGLang, in halves of each rank's own, or `dbo` as vLLM, in equal parts
    #[arg(long, value_enum, requires = "given")]
    micro: Option<MicroKind>,
    /// Tokens of the prompts of each rank, which --micro tbo cuts, ranks separated by semicolons: 100,50;7;
    #[arg(long, value_name = "LISTS", requires = "prefilling")]
    prompts: Option<Lists>,
    /// Real rows of the context-parallel parts of each rank, ranks separated by semicolons: 8,8;5,5
    #[arg(long, value_name = "LISTS", requires = "raw")]
    shards: Option<Lists>,
    /// How hidden states travel to the experts, and says what they take: bf16, fp8_128, mxfp8 or nvfp4
    #[arg(long, requires = "raw", value_parser = wire_parser())]
    wire: Option<WireFormat>,
    /// Experts of every row, whose numbers and weights travel with it
    #[arg(long, requires = "wire")]
    experts_per_token: Option<u64>,
    #[command(flatten)]
    step: StepArguments,
    #[command(flatten)]
    trace: TraceArguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let text = if arguments.json {
        json::plans()?
    } else if let Some(text) = trace::compare(arguments)? {
        text
    } else {
        from_flags(arguments)?
    };
    Ok(output::print(&text)?)
}

/// A table for people.
fn from_flags(arguments: &Arguments) -> Result<String, CommandError> {
    let request = arguments.request().ok_or(CommandError::NoCounts)?;
    let request = arguments.step.apply(request)?;
    if arguments.compare && arguments.svg.is_some() {
        return Err(CommandError::ComparisonDrawn);
    }
    if arguments.compare {
        return Ok(Comparison::new(&request)?.to_string());
    }
    let plan = Plan::new(&request)?;
    if let Some(file) = &arguments.svg {
        let parts: Vec<_> = plan.parts().iter().map(|part| part.layout()).collect();
        let image = draw::svg_parts(&parts).unwrap_or_else(|| draw::svg(plan.layout()));
        output::write(file, &image)?;
    }
    let mut text = plan.to_string();
    if arguments.explain {
        text = format!("{text}\n{}", plan.explain());
    }
    Ok(text)
}

impl Arguments {
    fn micro(&self) -> Option<Micro> {
        Some(match self.micro? {
            MicroKind::Tbo => Micro::Tbo(TwoBatch {
                prompts: self.prompts.as_ref().map(|lists| lists.0.clone()),
                ..TwoBatch::default()
            }),
            MicroKind::Dbo => Micro::Dbo(DualBatch::default()),
        })
    }

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
            graph_buckets: (self.graph_ok || self.step.tells()).then(captured),
            graph_ok: self.graph_ok,
            hybrid_idle: self.hybrid_idle,
            force_max: self.force_max,
            elastic_join: self.elastic_join,
            prefill_buckets: self.prefill_buckets.as_ref().map(|sizes| sizes.0.clone()),
            micro: self.micro(),
            shards: self.shards.as_ref().map(|lists| lists.0.clone()),
            wire: self.wire,
            experts_per_token: self.experts_per_token,
            row_bytes: self.row_bytes.unwrap_or(default.row_bytes),
            ..default
        })
    }
}

fn wire_parser() -> impl TypedValueParser<Value = WireFormat> {
    PossibleValuesParser::new(WireFormat::ALL.map(WireFormat::name)).try_map(|name| name.parse::<WireFormat>())
}

/// Whose micro-batches.
#[derive(Clone, Copy, ValueEnum)]
enum MicroKind {
    Tbo,
    Dbo,
}

/// A list of numbers for each rank as one argument.
#[derive(Clone)]
struct Lists(Vec<Vec<u64>>);

impl FromStr for Lists {
    type Err = CountsError;

    fn from_str(text: &str) -> Result<Self, CountsError> {
        let list = |text: &str| match text.trim() {
            "" => Ok(Vec::new()),
            text => counts::parse(text),
        };
        text.split(';').map(list).collect::<Result<_, _>>().map(Self)
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

/// Sizes of captured graphs as one argument.
#[derive(Clone)]
struct Sizes(Vec<u64>);

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        counts::parse_sizes(text).map(Self)
    }
}

/// Batch sizes of captured graphs, or whose default they are.
#[derive(Clone)]
struct Buckets(Vec<u64>);

/// What most engines of today capture: a GPU with over 90 GiB.
fn default_buckets(speculative: bool) -> Vec<u64> {
    capture_sizes(speculative, 256)
}

impl FromStr for Buckets {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        Ok(Self(match text {
            "decode" => default_buckets(false),
            "spec" => default_buckets(true),
            _ => counts::parse_sizes(text)?,
        }))
    }
}
