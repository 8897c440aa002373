//! Kernels whose threads hold tiles, or in which elements meet.

use std::sync::Arc;

use half::bf16;
use tilewright_dsl::call::Call;
use tilewright_dsl::{kernel, lang::*};
use tilewright_runtime::{Device, Variant};

use crate::catalogue::variant;

/// Those that are measured.
#[path = "../../../benches/src/meet.rs"]
mod meet;

use meet::{argmax_rows, count_rows, cumulate_rows, rms_norm, softmax_rows, sort_rows, sum_rows, top_experts};

/// The row stays in registers between the sum and the store.
#[kernel(grid = [rows.extent(0)])]
fn rms_norm_in_place(rows: &mut Tensor<bf16, 2>, weights: &Tensor<bf16, 1>) {
    let (row, cols) = (program_id(0), arange(rows.extent(1)));
    let x = rows.load([row, cols]).cast::<f32>();
    let mean = (x * x).sum_axis(0) / comptime(rows.extent(1)) as f32;
    let scaled = x * (mean + 1e-6).rsqrt() * weights.load([cols]).cast::<f32>();
    rows.store([row, cols], scaled.cast::<bf16>());
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
