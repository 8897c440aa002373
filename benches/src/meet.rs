//! Kernels in which elements of a row meet: those that are measured, and whose code is looked at in tests.

use half::bf16;
use tilewright_dsl::{kernel, lang::*};

#[kernel(grid = [out.extent(0)])]
pub fn sort_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]).sort_axis(0));
}

/// The experts of each token, and their weights, whose sum is 1.
#[kernel(grid = [ids.extent(0)])]
pub fn top_experts(ids: &mut Tensor<i32, 2>, weights: &mut Tensor<f32, 2>, scores: &Tensor<f32, 2>) {
    let row = program_id(0);
    let scores = scores.load([row, arange(scores.extent(1))]);
    let (weight, id) = scores.top_k(0, ids.extent(1));
    let k = arange(ids.extent(1));
    ids.store([row, k], id.cast::<i32>());
    weights.store([row, k], weight / weight.sum_axis(0).expand_dims(0));
}

#[kernel(grid = [out.extent(0)])]
pub fn softmax_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let x = src.load([row, cols]);
    let e = (x - x.max_axis(0)).exp();
    out.store([row, cols], e / e.sum_axis(0));
}

#[kernel(grid = [out.extent(0)])]
pub fn rms_norm(out: &mut Tensor<bf16, 2>, src: &Tensor<bf16, 2>, weights: &Tensor<bf16, 1>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let x = src.load([row, cols]).cast::<f32>();
    let mean = (x * x).sum_axis(0) / comptime(out.extent(1)) as f32;
    let scaled = x * (mean + 1e-6).rsqrt() * weights.load([cols]).cast::<f32>();
    out.store([row, cols], scaled.cast::<bf16>());
}

#[kernel(grid = [sums.extent(0)])]
pub fn sum_rows(sums: &mut Tensor<f32, 1>, src: &Tensor<bf16, 2>) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]).cast::<f32>();
    sums.store([row], x.sum_axis(0));
}

#[kernel(grid = [first.extent(0)])]
pub fn argmax_rows(first: &mut Tensor<i64, 1>, src: &Tensor<f32, 2>) {
    let row = program_id(0);
    first.store([row], src.load([row, arange(src.extent(1))]).argmax_axis(0));
}

#[kernel(grid = [out.extent(0)])]
pub fn cumulate_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]).cumulative_sum(0));
}

#[kernel(grid = [out.extent(0)])]
pub fn count_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]);
    out.store([row, arange(out.extent(1))], x.histogram(out.extent(1)));
}
