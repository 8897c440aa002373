//! What is asked to be measured. The Python side chooses every number, so that both sides do the same.

use serde::{Deserialize, Serialize};
use tilewright_dsl::call::Call;
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
    /// `out[index[i]] = (source[i], rope[i])`
    StoreMla,
    /// `out[i]` in 8 bits, with a scale for each [`GROUP`]
    QuantizeRows,
    /// The other way round
    DequantizeRows,
    /// `out[i]` is the weighted sum of [`TOP`] rows of the source
    CombineRows,
    /// `source[i]` without signs, where it is
    AbsInPlace,
}

/// Elements at the end of a latent row that carry its position.
pub const ROPE: usize = 64;
/// Elements that share a scale.
pub const GROUP: usize = 128;
/// Rows that are combined into one.
pub const TOP: usize = 8;

impl Op {
    /// Whether rows are moved, and nothing is computed of them.
    pub fn moves(self) -> bool {
        matches!(
            self,
            Self::Gather | Self::Scatter | Self::Slot | Self::Pad | Self::Place
        )
    }
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
    /// Where the rows begin that are moved, their output, and the index, if there is one: memory of whoever asks.
    #[serde(default)]
    pub source: u64,
    #[serde(default)]
    pub output: u64,
    #[serde(default)]
    pub index: u64,
}

impl Case {
    /// Whether the operation can be launched like that: most have no count that could lie on the device.
    pub fn has(&self, binding: Binding) -> bool {
        binding != Binding::Device || matches!(self.op, Op::Slot | Op::Pad | Op::Place)
    }

    fn element_bytes(&self) -> usize {
        match self.dtype.as_str() {
            "f32" => 4,
            "f8" => 1,
            _ => 2,
        }
    }

    /// Bytes that one launch must read and write.
    pub fn bytes(&self) -> usize {
        let elements = self.rows * self.columns;
        let narrow = elements + self.rows * (self.columns / GROUP) * size_of::<f32>();
        match self.op {
            Op::StoreMla => return 2 * elements * size_of::<u16>() + self.rows * size_of::<i64>(),
            Op::QuantizeRows | Op::DequantizeRows => return elements * size_of::<u16>() + narrow,
            Op::CombineRows => {
                let each = size_of::<i64>() + size_of::<f32>();
                return (TOP + 1) * elements * size_of::<u16>() + self.rows * TOP * each;
            }
            Op::AbsInPlace => return 2 * elements * size_of::<u16>(),
            _ => {}
        }
        let written = if matches!(self.op, Op::Pad | Op::Place) {
            self.output_rows
        } else {
            self.rows
        };
        (self.rows + written) * self.columns * self.element_bytes()
    }

    /// Refuses what cannot be done.
    pub fn check(&self) -> Result<(), String> {
        let touched = self.sets * self.rows;
        let fits = match self.op {
            Op::Gather | Op::Scatter => touched <= self.pool_rows && self.output_rows == self.rows,
            Op::Slot | Op::Place => self.offset + self.rows <= self.output_rows,
            Op::Pad => self.rows <= self.output_rows,
            Op::StoreMla => touched <= self.pool_rows && self.columns > ROPE,
            Op::QuantizeRows | Op::DequantizeRows => self.columns.is_multiple_of(GROUP),
            Op::CombineRows => touched * TOP <= self.pool_rows,
            Op::AbsInPlace => true,
        };
        match () {
            () if self.dtype != "bf16" && !(self.op.moves() && matches!(self.dtype.as_str(), "f32" | "f8")) => {
                Err(format!("{:?} of {} is not measured", self.op, self.dtype))
            }
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

impl Way {
    /// A call that is done like that.
    pub fn of<'a>(&self, call: Call<'a>) -> Call<'a> {
        let call = match self.binding {
            Binding::Exact => call.exact_extents(),
            Binding::Runtime | Binding::Device => call,
        };
        match self.schedule {
            Some(schedule) => call.with_schedule(schedule.into()),
            None => call,
        }
    }
}

/// A schedule as it is written in a request.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Spread {
    threads: u32,
    programs_per_block: u32,
    splits: u32,
    unroll: u32,
    load: Load,
    store: Store,
    wide: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Load {
    Cached,
    Streaming,
    Early,
    EarlyCached,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Store {
    Cached,
    Streaming,
    Fetched,
}

impl From<Spread> for Schedule {
    fn from(spread: Spread) -> Self {
        Self {
            threads: spread.threads,
            programs_per_block: spread.programs_per_block,
            splits: spread.splits,
            unroll: spread.unroll,
            load: match spread.load {
                Load::Cached => LoadHint::Cached,
                Load::Streaming => LoadHint::Streaming,
                Load::Early => LoadHint::Early,
                Load::EarlyCached => LoadHint::EarlyCached,
            },
            store: match spread.store {
                Store::Cached => StoreHint::Cached,
                Store::Streaming => StoreHint::Streaming,
                Store::Fetched => StoreHint::Fetched,
            },
            wide: spread.wide,
        }
    }
}

impl From<Schedule> for Spread {
    fn from(schedule: Schedule) -> Self {
        let Schedule {
            threads,
            programs_per_block,
            splits,
            unroll,
            load,
            store,
            wide,
        } = schedule;
        Self {
            threads,
            programs_per_block,
            splits,
            unroll,
            load: match load {
                LoadHint::Cached => Load::Cached,
                LoadHint::Streaming => Load::Streaming,
                LoadHint::Early => Load::Early,
                LoadHint::EarlyCached => Load::EarlyCached,
            },
            store: match store {
                StoreHint::Cached => Store::Cached,
                StoreHint::Streaming => Store::Streaming,
                StoreHint::Fetched => Store::Fetched,
            },
            wide,
        }
    }
}
