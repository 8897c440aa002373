//! What is done with rows whose elements meet, on memory of the side that asks: it makes the rows and compares the results.

use std::error::Error;

use half::bf16;
use serde::Deserialize;
use tilewright_dp::kernels::quantize_rows;
use tilewright_dsl::call::Call;
use tilewright_dsl::schedule::{LoadHint, Schedule, StoreHint};
use tilewright_harness::bench::Replay;
use tilewright_runtime::{Device, Launch, Stream};

use crate::case::GROUP;
use crate::meet::{argmax_rows, count_rows, cumulate_rows, rms_norm, softmax_rows, sort_rows, sum_rows, top_experts};
use crate::memory::{self, Memory};

/// What is done with each row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Op {
    Sort,
    TopK,
    Softmax,
    RmsNorm,
    Sum,
    Argmax,
    CumulativeSum,
    Histogram,
    Quantize,
}

/// An operation on the rows of several sets, one behind the other in device memory.
#[derive(Clone, Debug, Deserialize)]
pub struct MeetingCase {
    op: Op,
    rows: usize,
    columns: usize,
    /// Elements of a row of the result.
    results: usize,
    sets: usize,
    launches: usize,
    /// Where the rows begin.
    source: u64,
    /// Where the weights of their columns begin, if there are any.
    weights: u64,
    /// Where the results begin.
    out: u64,
    /// Where the other results begin, if there are any: indices, or scales.
    beside: u64,
    /// Threads of a program and programs of a block, if they are not to be chosen.
    #[serde(default)]
    spread: Option<(u32, u32)>,
}

impl MeetingCase {
    /// Captures launches that go round the sets, once each has run: a set that lies otherwise is another variant.
    ///
    /// # Safety
    /// All memory is there, as large as it is said to be, until the replay is dropped.
    #[allow(unsafe_code)]
    pub unsafe fn replay(&self, device: &Device) -> Result<Replay, Box<dyn Error>> {
        // SAFETY: as the caller promises.
        unsafe { memory::capture(device, self.sets, self.launches, |stream, set| self.launch(stream, set)) }
    }

    fn launch(&self, stream: &Stream, set: usize) -> Result<(), Box<dyn Error>> {
        let (rows, columns, results) = (self.rows, self.columns, self.results);
        // SAFETY: as the caller of `replay` promises.
        #[allow(unsafe_code)]
        let memory = |at| unsafe { Memory::new(stream.device(), at) };
        let (source, out, beside) = (memory(self.source), memory(self.out), memory(self.beside));
        let matrix = [rows, columns];
        match self.op {
            Op::Sort => {
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, sort_rows(&mut out, &src))
            }
            Op::TopK => {
                let (mut out, mut ids) = (out.result(set, [rows, results])?, beside.result(set, [rows, results])?);
                self.run(stream, top_experts(&mut ids, &mut out, &source.operand(set, matrix)?))
            }
            Op::Softmax => {
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, softmax_rows(&mut out, &src))
            }
            Op::RmsNorm => {
                let weights = memory(self.weights).operand(0, [columns])?;
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, rms_norm(&mut out, &src, &weights))
            }
            Op::Sum => {
                let (mut out, src) = (out.result(set, [rows])?, source.operand(set, matrix)?);
                self.run(stream, sum_rows(&mut out, &src))
            }
            Op::Argmax => {
                let (mut out, src) = (out.result(set, [rows])?, source.operand(set, matrix)?);
                self.run(stream, argmax_rows(&mut out, &src))
            }
            Op::CumulativeSum => {
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, cumulate_rows(&mut out, &src))
            }
            Op::Histogram => {
                let (mut out, src) = (out.result(set, [rows, results])?, source.operand(set, matrix)?);
                self.run(stream, count_rows(&mut out, &src))
            }
            Op::Quantize => {
                let mut out = out.result(set, matrix)?;
                let mut scales = beside.result(set, [rows, columns / GROUP])?;
                let src = source.operand::<bf16, 2>(set, matrix)?;
                self.run(stream, quantize_rows::<bf16>(&mut out, &mut scales, &src))
            }
        }
    }

    fn run(&self, stream: &Stream, call: Call<'_>) -> Result<(), Box<dyn Error>> {
        let call = match self.spread {
            Some((threads, programs_per_block)) => call.with_schedule(Schedule {
                threads,
                programs_per_block,
                splits: 1,
                unroll: 4,
                load: LoadHint::Cached,
                store: StoreHint::Cached,
                wide: true,
            }),
            None => call,
        };
        call.launch_on(stream)?;
        Ok(())
    }
}
