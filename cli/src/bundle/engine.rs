//! The kernels of an engine's steps, compiled here.

use std::path::Path;
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use tilewright::dp::offline::{Engine, Kernels};
use tilewright::dp::plan::capture_sizes;
use tilewright::dsl::element::ElementType;
use tilewright::prelude::CountPolicy;
use tilewright::runtime::Target;
use tilewright::runtime::cache::{Bundle, BundleBuilder};
use tilewright::runtime::compile::Architecture;

use super::list;
use crate::error::CommandError;

/// The types that hidden states have.
const ELEMENTS: [ElementType; 3] = [ElementType::BF16, ElementType::F16, ElementType::F32];

/// What the command line says of the engine.
#[derive(Args)]
#[command(next_help_heading = "The engine whose kernels are compiled")]
pub struct EngineArguments {
    /// Elements of its hidden states; several are separated by commas
    #[arg(
        long,
        value_name = "SIZES",
        value_delimiter = ',',
        required_unless_present_any = ["list", "from"],
        conflicts_with_all = ["list", "from"]
    )]
    hidden: Vec<usize>,
    /// Their types
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "bf16",
          value_parser = parser(ELEMENTS, ElementType::name), conflicts_with_all = ["list", "from"])]
    element: Vec<ElementType>,
    /// Which kernels it uses
    #[arg(long, value_delimiter = ',', default_value = "movement,padding,rows,experts",
          value_parser = parser(Kernels::ALL, Kernels::name), conflicts_with_all = ["list", "from"])]
    kernels: Vec<Kernels>,
    /// Data-parallel ranks
    #[arg(long, value_name = "RANKS", default_value_t = 8, conflicts_with_all = ["list", "from"])]
    dp: u64,
    /// GPUs that share a rank's attention
    #[arg(long, value_name = "GPUS", default_value_t = 1, conflicts_with_all = ["list", "from"])]
    attn_tp: u64,
    /// The most rows that a rank has in a step
    #[arg(long, default_value_t = 1024, conflicts_with_all = ["list", "from"])]
    rows: u64,
    /// How many experts a token is routed to
    #[arg(
        long,
        value_name = "EXPERTS",
        value_delimiter = ',',
        default_value = "8",
        conflicts_with_all = ["list", "from"]
    )]
    experts_per_token: Vec<usize>,
    /// Which counts become literals too: none, all, up-to=COUNT, multiples-of=COUNT, captured (the sizes that SGLang captures
    /// graphs for), or counts such as 8,16,32
    #[arg(long, default_value = "none", conflicts_with_all = ["list", "from"])]
    literals: Literals,
    /// Multiprocessors of the GPUs [default: 108 for sm_80, 132 for sm_90, 148 for sm_100]
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', conflicts_with_all = ["list", "from"],
          value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    multiprocessors: Vec<u32>,
}

/// Which counts become literals.
#[derive(Clone)]
enum Literals {
    Policy(CountPolicy),
    Captured,
}

impl FromStr for Literals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| {
                format!("`{text}` is no count: write none, all, captured, up-to=64, multiples-of=8 or 8,16,32")
            })
        };
        let policy = match text.split_once('=') {
            Some(("up-to", most)) => CountPolicy::ExactUpTo(number(most)?),
            Some(("multiples-of", factor)) => CountPolicy::MultipleOf(number(factor)?),
            _ => match text {
                "none" => CountPolicy::Runtime,
                "all" => CountPolicy::Exact,
                "captured" => return Ok(Self::Captured),
                counts => CountPolicy::Buckets(counts.split(',').map(number).collect::<Result<_, _>>()?),
            },
        };
        Ok(Self::Policy(policy))
    }
}

/// One of some things, by name.
pub fn parser<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(name)).try_map(move |found| {
        let named = all.into_iter().find(|one| name(*one) == found);
        named.ok_or("it is none of them")
    })
}

impl EngineArguments {
    fn engine(&self) -> Engine {
        Engine {
            kernels: self.kernels.clone(),
            hidden: self.hidden.clone(),
            elements: self.element.clone(),
            dp: self.dp,
            attention_tp: self.attn_tp,
            rows: self.rows,
            experts_per_token: self.experts_per_token.clone(),
            policy: match &self.literals {
                Literals::Policy(policy) => policy.clone(),
                Literals::Captured => CountPolicy::Buckets(capture_sizes(false, self.rows)),
            },
            profile: Default::default(),
        }
    }

    fn targets(&self, architectures: &[Architecture]) -> Result<Vec<Target>, CommandError> {
        let mut targets = Vec::new();
        for &architecture in architectures {
            if self.multiprocessors.is_empty() {
                let usual = Target::usual(architecture);
                targets.push(usual.ok_or(CommandError::UnknownMultiprocessors { architecture })?);
            }
            let given = self.multiprocessors.iter();
            targets.extend(given.map(|&count| Target::new(architecture, count)));
        }
        Ok(targets)
    }
}

/// Compiles and writes the bundle, and tells what is in it.
pub fn write(arguments: &super::Arguments, file: &Path) -> Result<String, CommandError> {
    let engine = arguments.engine.engine();
    let builder = BundleBuilder::new();
    for target in arguments.engine.targets(&arguments.arch)? {
        let bar = ProgressBar::new(0).with_message(target.architecture.to_string());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len}, {eta} left") {
            bar.set_style(style);
        }
        engine.compile(&builder, target, |progress| {
            bar.set_length(progress.all as u64);
            bar.set_position(progress.done as u64);
        })?;
        bar.finish_and_clear();
    }
    builder.write(file)?;
    let mut text = list(file, &Bundle::open(file)?.cubins()?);
    text += "\nnot in it: literals that a server tries as it runs, for which no launch waits\n";
    Ok(text)
}
