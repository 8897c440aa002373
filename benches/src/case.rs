//! What is asked to be measured. The Python side chooses every number, so that both sides do the same.

use serde::Deserialize;
use tilewright_dsl::schedule::{LoadHint, Schedule, StoreHint};

/// An operation on rows of a hidden state.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// `out[i] = source[index[i]]`
    Gather,
    /// `out[index[i]] = source[i]`
    Scatter,
    /// `out[offset + i] = source[i]`
    Slot,
    /// `out[i] = source[i]`, and zeros to the end
    Pad,
    /// `out[offset + i] = source[i]`, and zeros everywhere else: a rank's part of a gathered buffer
    Place,
}

/// How the counts of a launch (rows, offset) reach the kernel.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// As literals in the code.
    Exact,
    /// As arguments.
    Runtime,
    /// Read from device memory.
    Device,
}

impl Binding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Runtime, Self::Device];

    /// As it is written in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Runtime => "runtime",
            Self::Device => "device",
        }
    }
}

/// An operation on so many rows, and the buffers it rotates over.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Case {
    /// What is done.
    pub op: Op,
    /// The element type.
    pub dtype: String,
    /// Rows that a launch moves.
    pub rows: usize,
    /// Elements in a row.
    pub columns: usize,
    /// Distinct sets of rows.
    pub sets: usize,
    /// Launches in a graph.
    pub launches: usize,
    /// Rows that indices point into.
    pub pool_rows: usize,
    /// Rows of the output that a set owns.
    pub output_rows: usize,
    /// Where the slot begins among them.
    pub offset: usize,
}

impl Case {
    /// Whether the operation can be launched like that: a gather or scatter has no count that could lie on the device.
    pub fn has(&self, binding: Binding) -> bool {
        binding != Binding::Device || matches!(self.op, Op::Slot | Op::Pad | Op::Place)
    }

    /// Bytes that one launch must read and write.
    pub fn bytes(&self) -> usize {
        let written = if matches!(self.op, Op::Pad | Op::Place) {
            self.output_rows
        } else {
            self.rows
        };
        (self.rows + written) * self.columns * size_of::<u16>()
    }

    /// Refuses what cannot be done.
    pub fn check(&self) -> Result<(), String> {
        let touched = self.sets * self.rows;
        let fits = match self.op {
            Op::Gather | Op::Scatter => touched <= self.pool_rows && self.output_rows == self.rows,
            Op::Slot | Op::Place => self.offset + self.rows <= self.output_rows,
            Op::Pad => self.rows <= self.output_rows,
        };
        match () {
            () if self.dtype != "bf16" => Err(format!("dtype {} is not measured, only bf16", self.dtype)),
            () if touched == 0 || self.columns == 0 || self.launches < self.sets => Err("nothing to launch".to_owned()),
            () if !fits => Err("the rows do not fit the buffers".to_owned()),
            () => Ok(()),
        }
    }
}

/// How a case is launched.
#[derive(Clone, Debug, Deserialize)]
pub struct Way {
    /// How its counts are bound.
    pub binding: Binding,
    /// How it is spread over threads and blocks, if that is not to be chosen.
    #[serde(default)]
    pub schedule: Option<Spread>,
    /// Who compiles it, if that is not what the environment chooses: `nvrtc` or `ptx`.
    #[serde(default)]
    pub compiler: Option<String>,
    /// Whether the result is compared with the operation's definition.
    pub check: bool,
}

/// A schedule as it is written in a request.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Spread {
    threads: u32,
    splits: u32,
    unroll: u32,
    load: Load,
    store: Store,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Load {
    Cached,
    Streaming,
    Early,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Store {
    Cached,
    Streaming,
}

impl From<Spread> for Schedule {
    fn from(spread: Spread) -> Self {
        Self {
            threads: spread.threads,
            programs_per_block: 1,
            splits: spread.splits,
            unroll: spread.unroll,
            load: match spread.load {
                Load::Cached => LoadHint::Cached,
                Load::Streaming => LoadHint::Streaming,
                Load::Early => LoadHint::Early,
            },
            store: match spread.store {
                Store::Cached => StoreHint::Cached,
                Store::Streaming => StoreHint::Streaming,
            },
        }
    }
}
