//! What the command line asks for.

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum, value_parser};
use tilewright::dp::counts;
use tilewright::dp::layout::PaddingMode;
use tilewright::dp::simulate::{Options, Simulation};
use tilewright::dp::text;
use tilewright::dp::trace::Trace;

use crate::place::Place;

/// The most ranks; each has tensors of its own.
const MAX_RANKS: u16 = 512;

/// The most steps that are kept and run.
const MAX_STEPS: u64 = 1 << 16;

/// Moves the hidden states of data-parallel ranks through a gathered buffer and checks every bit.
#[derive(Parser)]
#[command(group = clap::ArgGroup::new("tokens").required(true))]
pub struct Arguments {
    /// Tokens of each rank in one step, separated by commas: 20,20,0,7
    #[arg(long, group = "tokens", allow_hyphen_values = true)]
    counts: Option<String>,
    /// A request trace to draw token counts from: CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens
    #[arg(long, group = "tokens", value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Steps of the trace to run
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u64).range(1..=MAX_STEPS), conflicts_with = "counts")]
    steps: u64,
    /// Steps of the trace to pass over first, so that the ranks have requests to decode
    #[arg(long, default_value_t = 1000, conflicts_with = "counts")]
    skip: usize,
    /// Data-parallel ranks that serve the trace
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u16).range(1..=MAX_RANKS as i64), conflicts_with = "counts")]
    ranks: u16,
    /// The most prompt tokens that a rank prefills in a step
    #[arg(long, default_value_t = 512, value_parser = value_parser!(u64).range(1..), conflicts_with = "counts")]
    chunk: u64,
    /// Elements of a hidden state, in bfloat16
    #[arg(long, default_value_t = 7168, value_parser = value_parser!(u64).range(1..=1 << 20))]
    pub hidden: u64,
    /// How ranks are padded: to the longest, not at all, or one after the other
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    pub mode: Mode,
    /// GPUs that share the attention of one rank; its rows are padded to a multiple
    #[arg(long, default_value_t = 1, value_name = "SIZE")]
    pub attention_tp: u64,
    /// Where the kernels run
    #[arg(long, value_enum, default_value_t = Place::Best)]
    pub device: Place,
    /// A GPU for each rank, in threads of this program; without GPUs, a CPU device for each
    #[arg(long, value_name = "RANKS", conflicts_with_all = ["attention_tp", "processes"])]
    pub gpus: Option<usize>,
    /// The same with a process for each rank; one that torchrun or mpirun has started is a rank
    #[arg(long, value_name = "RANKS", conflicts_with = "attention_tp")]
    pub processes: Option<usize>,
    /// The ranks stand for so many hosts, as many on each: rows go through NCCL between them, which needs `--processes` on GPUs
    #[arg(long, value_name = "HOSTS", value_parser = value_parser!(u16).range(1..))]
    pub hosts: Option<u16>,
    /// Writes the layout of the last step as an SVG image; with --mode both, one image for each mode
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Every rank has as many rows as the longest
    Max,
    /// Every rank has its own rows only
    Sum,
    /// Both, one after the other
    Both,
}

impl Mode {
    pub fn modes(self) -> impl Iterator<Item = PaddingMode> {
        let max = matches!(self, Self::Max | Self::Both).then_some(PaddingMode::Max);
        let sum = matches!(self, Self::Sum | Self::Both).then_some(PaddingMode::Sum);
        max.into_iter().chain(sum)
    }
}

impl Arguments {
    /// The token counts of every step to run.
    pub fn steps(&self) -> Result<Vec<Vec<u64>>, Box<dyn Error>> {
        if let Some(text) = &self.counts {
            let shown = text::shortened(text, text::VALUE);
            let counts = counts::parse(text).map_err(|error| format!("--counts {shown}: {error}"))?;
            if counts.len() > MAX_RANKS.into() {
                return Err(format!(
                    "--counts {shown}: these are {} ranks; the most are {MAX_RANKS}",
                    counts.len()
                )
                .into());
            }
            return Ok(vec![counts]);
        }
        let Some(file) = &self.trace else {
            return Err("neither --counts nor --trace is given".into());
        };
        let trace = Trace::read(file)?;
        let options = Options {
            ranks: self.ranks.into(),
            chunk: self.chunk,
            ..Options::default()
        };
        let steps: Vec<_> = Simulation::new(&trace, options)?
            .skip(self.skip)
            .take(self.steps as usize)
            .map(|step| step.counts().to_vec())
            .collect();
        if steps.is_empty() {
            let advice = "pass over fewer with `--skip`";
            return Err(format!(
                "{}: the trace ends within its first {} steps; {advice}",
                file.display(),
                self.skip
            )
            .into());
        }
        Ok(steps)
    }

    /// Whether every rank has a device of its own: how many ranks there are, and whether each is a process.
    pub fn between<L>(&self, steps: &[(Vec<u64>, L)]) -> Result<Option<(usize, bool)>, Box<dyn Error>> {
        let (flag, ranks, is_processes) = match (self.gpus, self.processes) {
            (Some(ranks), _) => ("--gpus", ranks, false),
            (None, Some(ranks)) => ("--processes", ranks, true),
            (None, None) => {
                return match self.hosts {
                    None => Ok(None),
                    Some(hosts) => Err(format!(
                        "--hosts {hosts}: say with `--gpus` or `--processes` how many ranks there are"
                    )
                    .into()),
                };
            }
        };
        if let Some(hosts) = self.hosts.filter(|&hosts| !ranks.is_multiple_of(hosts.into())) {
            return Err(format!("--hosts {hosts}: {ranks} ranks are not as many on each").into());
        }
        match steps.iter().find(|(counts, _)| counts.len() != ranks) {
            Some((counts, _)) => Err(format!("{flag} {ranks}: the step has counts of {} ranks", counts.len()).into()),
            None => Ok(Some((ranks, is_processes))),
        }
    }

    /// The host that a rank stands for, if ranks do.
    pub fn host(&self, rank: usize, ranks: usize) -> Option<usize> {
        self.hosts.map(|hosts| rank * usize::from(hosts) / ranks)
    }

    /// Where the drawing of a mode goes.
    pub fn svg_file(&self, mode: PaddingMode) -> Option<PathBuf> {
        let file = self.svg.clone()?;
        if self.mode != Mode::Both {
            return Some(file);
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}-{}.svg", mode.name().to_lowercase());
        Some(file.with_file_name(name))
    }
}
