//! Kernels in which elements of a row meet, on memory of the side that asks: it makes the rows and compares the results.

use std::error::Error;

use half::bf16;
use serde::Deserialize;
use tilewright_dsl::call::Call;
use tilewright_dsl::element::Element;
use tilewright_dsl::schedule::{LoadHint, Schedule, StoreHint};
use tilewright_dsl::{kernel, lang::*};
use tilewright_harness::bench::Replay;
use tilewright_runtime::{BorrowedTensor, BorrowedTensorMut, Device, Launch, Stream, TensorError};

#[kernel(grid = [out.extent(0)])]
fn sort(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]).sort_axis(0));
}

#[kernel(grid = [ids.extent(0)])]
fn top_k(weights: &mut Tensor<f32, 2>, ids: &mut Tensor<i32, 2>, scores: &Tensor<f32, 2>) {
    let row = program_id(0);
    let scores = scores.load([row, arange(scores.extent(1))]);
    let (weight, id) = scores.top_k(0, ids.extent(1));
    let k = arange(ids.extent(1));
    ids.store([row, k], id.cast::<i32>());
    weights.store([row, k], weight / weight.sum_axis(0).expand_dims(0));
}

#[kernel(grid = [out.extent(0)])]
fn softmax(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let x = src.load([row, cols]);
    let e = (x - x.max_axis(0)).exp();
    out.store([row, cols], e / e.sum_axis(0));
}

#[kernel(grid = [out.extent(0)])]
fn rms_norm(out: &mut Tensor<bf16, 2>, src: &Tensor<bf16, 2>, weights: &Tensor<bf16, 1>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let x = src.load([row, cols]).cast::<f32>();
    let mean = (x * x).sum_axis(0) / comptime(out.extent(1)) as f32;
    let scaled = x * (mean + 1e-6).rsqrt() * weights.load([cols]).cast::<f32>();
    out.store([row, cols], scaled.cast::<bf16>());
}

#[kernel(grid = [out.extent(0)])]
fn sum(out: &mut Tensor<f32, 1>, src: &Tensor<bf16, 2>) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]).cast::<f32>();
    out.store([row], x.sum_axis(0));
}

#[kernel(grid = [out.extent(0)])]
fn argmax(out: &mut Tensor<i64, 1>, src: &Tensor<f32, 2>) {
    let row = program_id(0);
    out.store([row], src.load([row, arange(src.extent(1))]).argmax_axis(0));
}

#[kernel(grid = [out.extent(0)])]
fn cumulative_sum(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]).cumulative_sum(0));
}

#[kernel(grid = [out.extent(0)])]
fn histogram(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]);
    out.store([row, arange(out.extent(1))], x.histogram(out.extent(1)));
}

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
    /// Where the indices among them begin, if there are any.
    ids: u64,
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
        (0..self.sets).try_for_each(|set| self.launch(&device.stream(), set))?;
        device.synchronize()?;
        let go_round =
            |stream: &Stream| (0..self.launches).try_for_each(|launch| self.launch(stream, launch % self.sets));
        // SAFETY: as the caller promises.
        let graph = unsafe { device.capture_borrowing(go_round) }?;
        Ok(Replay::of(graph, self.launches))
    }

    fn launch(&self, stream: &Stream, set: usize) -> Result<(), Box<dyn Error>> {
        let (rows, columns, results) = (self.rows, self.columns, self.results);
        let device = stream.device();
        let source = Memory {
            device,
            at: self.source,
        };
        let (out, ids) = (Memory { device, at: self.out }, Memory { device, at: self.ids });
        let matrix = [rows, columns];
        match self.op {
            Op::Sort => {
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, sort(&mut out, &src))
            }
            Op::TopK => {
                let (mut out, mut ids) = (out.result(set, [rows, results])?, ids.result(set, [rows, results])?);
                self.run(stream, top_k(&mut out, &mut ids, &source.operand(set, matrix)?))
            }
            Op::Softmax => {
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, softmax(&mut out, &src))
            }
            Op::RmsNorm => {
                let weights = Memory {
                    device,
                    at: self.weights,
                };
                let weights = weights.operand(0, [columns])?;
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, rms_norm(&mut out, &src, &weights))
            }
            Op::Sum => {
                let (mut out, src) = (out.result(set, [rows])?, source.operand(set, matrix)?);
                self.run(stream, sum(&mut out, &src))
            }
            Op::Argmax => {
                let (mut out, src) = (out.result(set, [rows])?, source.operand(set, matrix)?);
                self.run(stream, argmax(&mut out, &src))
            }
            Op::CumulativeSum => {
                let (mut out, src) = (out.result(set, matrix)?, source.operand(set, matrix)?);
                self.run(stream, cumulative_sum(&mut out, &src))
            }
            Op::Histogram => {
                let (mut out, src) = (out.result(set, [rows, results])?, source.operand(set, matrix)?);
                self.run(stream, histogram(&mut out, &src))
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
            }),
            None => call,
        };
        call.launch_on(stream)?;
        Ok(())
    }
}

/// Memory of the side that asks, from an address on.
struct Memory<'a> {
    device: &'a Device,
    at: u64,
}

impl<'a> Memory<'a> {
    /// Where a set begins, and how far apart its elements are.
    fn set<T: Element, const R: usize>(&self, set: usize, extents: [usize; R]) -> (u64, [i64; R]) {
        let mut strides = [1; R];
        for axis in (1..R).rev() {
            strides[axis - 1] = strides[axis] * extents[axis] as i64;
        }
        let bytes = extents.iter().product::<usize>() * size_of::<T>();
        (self.at + (set * bytes) as u64, strides)
    }

    #[allow(unsafe_code)]
    fn operand<T: Element, const R: usize>(
        &self,
        set: usize,
        extents: [usize; R],
    ) -> Result<BorrowedTensor<'a, T, R>, TensorError> {
        let (address, strides) = self.set::<T, R>(set, extents);
        // SAFETY: as the caller of `MeetingCase::replay` promises.
        unsafe { BorrowedTensor::from_raw(&self.device.stream(), address, extents, strides) }
    }

    #[allow(unsafe_code)]
    fn result<T: Element, const R: usize>(
        &self,
        set: usize,
        extents: [usize; R],
    ) -> Result<BorrowedTensorMut<'a, T, R>, TensorError> {
        let (address, strides) = self.set::<T, R>(set, extents);
        // SAFETY: as the caller of `MeetingCase::replay` promises.
        unsafe { BorrowedTensorMut::from_raw(&self.device.stream(), address, extents, strides) }
    }
}
