//! Kernels whose threads hold tiles, or in which elements meet.

use std::sync::Arc;

use half::bf16;
use tilewright_dsl::call::Call;
use tilewright_dsl::{kernel, lang::*};
use tilewright_runtime::{Device, Variant};

use crate::catalogue::variant;

#[kernel(grid = [out.extent(0)])]
fn sort_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]).sort_axis(0));
}

#[kernel(grid = [ids.extent(0)])]
fn top_experts(ids: &mut Tensor<i32, 2>, weights: &mut Tensor<f32, 2>, scores: &Tensor<f32, 2>) {
    let row = program_id(0);
    let scores = scores.load([row, arange(scores.extent(1))]);
    let (weight, id) = scores.top_k(0, ids.extent(1));
    let k = arange(ids.extent(1));
    ids.store([row, k], id.cast::<i32>());
    weights.store([row, k], weight / weight.sum_axis(0).expand_dims(0));
}

#[kernel(grid = [out.extent(0)])]
fn softmax_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
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

/// The row stays in registers between the sum and the store.
#[kernel(grid = [rows.extent(0)])]
fn rms_norm_in_place(rows: &mut Tensor<bf16, 2>, weights: &Tensor<bf16, 1>) {
    let (row, cols) = (program_id(0), arange(rows.extent(1)));
    let x = rows.load([row, cols]).cast::<f32>();
    let mean = (x * x).sum_axis(0) / comptime(rows.extent(1)) as f32;
    let scaled = x * (mean + 1e-6).rsqrt() * weights.load([cols]).cast::<f32>();
    rows.store([row, cols], scaled.cast::<bf16>());
}

#[kernel(grid = [sums.extent(0)])]
fn sum_rows(sums: &mut Tensor<f32, 1>, src: &Tensor<bf16, 2>) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]).cast::<f32>();
    sums.store([row], x.sum_axis(0));
}

#[kernel(grid = [first.extent(0)])]
fn argmax_rows(first: &mut Tensor<i64, 1>, src: &Tensor<f32, 2>) {
    let row = program_id(0);
    first.store([row], src.load([row, arange(src.extent(1))]).argmax_axis(0));
}

#[kernel(grid = [out.extent(0)])]
fn cumulate_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]).cumulative_sum(0));
}

#[kernel(grid = [out.extent(0)])]
fn count_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let row = program_id(0);
    let x = src.load([row, arange(src.extent(1))]);
    out.store([row, arange(out.extent(1))], x.histogram(out.extent(1)));
}

#[kernel(grid = [rows.extent(0)])]
fn double_rows(rows: &mut Tensor<bf16, 2>) {
    let (row, cols) = (program_id(0), arange(rows.extent(1)));
    let x = rows.load([row, cols]);
    rows.store([row, cols], x + x);
}

#[kernel(grid = [cdiv(all.extent(0), 1024)])]
fn double_all(all: &mut Tensor<bf16, 1>) {
    let at = arange(1024) + program_id(0) * 1024;
    let x = all.load([at]);
    all.store([at], x + x);
}

#[kernel(grid = [rows.extent(0)])]
fn reverse_rows(rows: &mut Tensor<f32, 2>) {
    let (row, cols) = (program_id(0), arange(rows.extent(1)));
    let x = rows.load([row, cols]);
    let last = comptime(rows.extent(1)) as i64 - 1;
    rows.store([row, last - cols], x);
}

/// All of them, for rows of so many elements.
pub fn meeting(columns: usize) -> Vec<Arc<Variant>> {
    let device = Device::cpu();
    let floats = device.zeros::<f32, 2>([4, columns]).expect("host memory");
    let integers = device.zeros::<i32, 2>([4, columns]).expect("host memory");
    let halves = device.zeros::<bf16, 2>([4, columns]).expect("host memory");
    let weights = device.zeros::<bf16, 1>([columns]).expect("host memory");
    let mut out = device.zeros::<f32, 2>([4, columns]).expect("host memory");
    let mut counts = device.zeros::<i32, 2>([4, columns]).expect("host memory");
    let mut narrow = device.zeros::<bf16, 2>([4, columns]).expect("host memory");
    let mut sums = device.zeros::<f32, 1>([4]).expect("host memory");
    let mut first = device.zeros::<i64, 1>([4]).expect("host memory");
    let mut ids = device.zeros::<i32, 2>([4, 8]).expect("host memory");
    let mut top = device.zeros::<f32, 2>([4, 8]).expect("host memory");
    let mut all = device.zeros::<bf16, 1>([8 * columns]).expect("host memory");
    let variant = |call: Call<'_>| variant(&device, call);
    vec![
        variant(sort_rows(&mut out, &floats)),
        variant(top_experts(&mut ids, &mut top, &floats)),
        variant(softmax_rows(&mut out, &floats)),
        variant(rms_norm(&mut narrow, &halves, &weights)),
        variant(rms_norm_in_place(&mut narrow, &weights)),
        variant(sum_rows(&mut sums, &halves)),
        variant(argmax_rows(&mut first, &floats)),
        variant(cumulate_rows(&mut counts, &integers)),
        variant(count_rows(&mut counts, &integers)),
        variant(double_rows(&mut narrow)),
        variant(double_all(&mut all)),
        variant(reverse_rows(&mut out)),
    ]
}
