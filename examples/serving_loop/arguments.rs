//! What the command line asks for.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, value_parser};
use tilewright::dp::trace::{Request, Trace};

use crate::place::Place;

/// Rows begin at multiples of 16 bytes, as those of engines do: so all views have the alignment of the first.
const ELEMENTS: u64 = 8;

/// The most data-parallel ranks; each has tensors of its own.
const MAX_RANKS: u64 = 64;

/// The most steps that are planned and measured.
const MAX_STEPS: u64 = 1 << 20;

/// Gathers, scatters and pads the rows of every step of a served trace, with token counts that change at each, and
/// shows that no launch waits for a compiler.
#[derive(Parser)]
pub struct Arguments {
    /// A request trace to serve: CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens; one is made up without
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// The most steps to run
    #[arg(long, default_value_t = 400, value_parser = value_parser!(u64).range(1..=MAX_STEPS))]
    pub steps: u64,
    /// Elements of a hidden state, in bfloat16; a multiple of 8
    #[arg(long, default_value_t = 64, value_parser = hidden)]
    pub hidden: u64,
    /// Data-parallel ranks that serve the trace
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u64).range(1..=MAX_RANKS))]
    pub dp: u64,
    /// The most prompt tokens that a rank prefills in a step
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u64).range(1..=1 << 20))]
    pub chunk: u64,
    /// Compares the bits of every step whose number this divides with the host's
    #[arg(long, default_value_t = 1, value_name = "STEPS", value_parser = value_parser!(u64).range(1..))]
    pub check_every: u64,
    /// Where the kernels run
    #[arg(long, value_enum, default_value_t = Place::Best)]
    pub device: Place,
    /// Writes the launch times of all steps as an SVG image
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

impl Arguments {
    /// The requests to serve.
    pub fn trace(&self) -> Result<Trace, Box<dyn Error>> {
        match &self.trace {
            Some(file) => Ok(Trace::read(file)?),
            None => Trace::new(made_up(self.steps)).ok_or_else(|| "a trace without requests".into()),
        }
    }
}

fn hidden(text: &str) -> Result<u64, String> {
    let number: u64 = text.parse().map_err(|error| format!("{error}"))?;
    match number {
        1..=1_048_576 if number.is_multiple_of(ELEMENTS) => Ok(number),
        _ => Err(format!(
            "it has to be a multiple of {ELEMENTS} from {ELEMENTS} to 1048576"
        )),
    }
}

/// Requests for so many steps: short and long prompts, now and then many at once. The same at each run.
fn made_up(steps: u64) -> Vec<Request> {
    let mut random = fastrand::Rng::with_seed(20);
    let mut arrival = Duration::ZERO;
    let request = |_| {
        // A step takes 30 ms, and each request at least one of its own: so there are enough.
        let is_burst = random.u8(..8) == 0;
        arrival += Duration::from_millis(if is_burst { 0 } else { random.u64(30..120) });
        let scale = [20, 60, 300][random.usize(..3)];
        Request {
            arrival,
            context_tokens: 1 + random.u64(..scale),
            generated_tokens: 1 + random.u64(..60),
        }
    };
    (0..steps + steps / 4).map(request).collect()
}
