//! The shapes in which kernels move rows, as authors write them.

use float8::F8E4M3;

use crate::kernel;
use crate::lang::*;

/// Columns from one on.
#[kernel(grid = [out.extent(0)])]
pub(super) fn slice<T: Element, const START: usize>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>) {
    let row = program_id(0);
    let part = src.load([row, arange(src.extent(1))]).slice(0, START, out.extent(1));
    out.store([row, arange(out.extent(1))], part);
}

/// Two rows end to end, whose lengths are not those of the row that is written.
#[kernel(grid = [out.extent(0)])]
pub(super) fn concatenate<T: Element>(out: &mut Tensor<T, 2>, a: &Tensor<T, 2>, b: &Tensor<T, 2>) {
    let row = program_id(0);
    let (left, right) = (a.load([row, arange(a.extent(1))]), b.load([row, arange(b.extent(1))]));
    out.store([row, arange(a.extent(1) + b.extent(1))], left.concatenate(right, 0));
}

/// Elements of two rows by turns.
#[kernel(grid = [out.extent(0)])]
pub(super) fn join<T: Element>(out: &mut Tensor<T, 2>, a: &Tensor<T, 2>, b: &Tensor<T, 2>) {
    let (row, cols) = (program_id(0), arange(a.extent(1)));
    let both = a.load([row, cols]).join(b.load([row, cols]));
    out.store([row, arange(a.extent(1) * 2)], both.reshape([a.extent(1) * 2]));
}

/// Every second element into one row, and those between into another.
#[kernel(grid = [even.extent(0)])]
pub(super) fn split<T: Element>(even: &mut Tensor<T, 2>, odd: &mut Tensor<T, 2>, src: &Tensor<T, 2>) {
    let (row, half) = (program_id(0), arange(even.extent(1)));
    let pairs = src.load([row, arange(even.extent(1) * 2)]).reshape([even.extent(1), 2]);
    let (left, right) = pairs.split();
    even.store([row, half], left);
    odd.store([row, half], right);
}

/// A row, the other way round.
#[kernel(grid = [out.extent(0)])]
pub(super) fn flip<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>) {
    let (row, cols) = (program_id(0), arange(src.extent(1)));
    out.store([row, cols], src.load([row, cols]).flip(0));
}

/// A row, in place.
#[kernel(grid = [x.extent(0)])]
pub(super) fn in_place<T: Element>(x: &mut Tensor<T, 2>) {
    let (row, cols) = (program_id(0), arange(x.extent(1)));
    let value = x.load([row, cols]);
    x.store([row, cols], value);
}

/// Blocks of a long row, in place, the last of which may not be whole.
#[kernel(grid = [cdiv(x.extent(0), 1024)])]
pub(super) fn blocked<T: Element>(x: &mut Tensor<T, 1>) {
    let at = arange(1024) + program_id(0) * 1024;
    let value = x.load([at]);
    x.store([at], value);
}

/// Heads end to end: a row is as long as a product.
#[kernel(grid = [out.extent(0)])]
pub(super) fn heads<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 3>) {
    let row = program_id(0);
    let (head, dim) = (arange(src.extent(1)).expand_dims(1), arange(src.extent(2)));
    let all = src.load([row, head, dim]).reshape([src.extent(1) * src.extent(2)]);
    out.store([row, arange(src.extent(1) * src.extent(2))], all);
}

/// Two parts of a row into a slot.
#[kernel(grid = [slots.extent(0)])]
pub(super) fn store_mla<T: Element>(
    cache: &mut Tensor<T, 2>,
    nope: &Tensor<T, 2>,
    rope: &Tensor<T, 2>,
    slots: &Tensor<i32, 1>,
) {
    require(cache.extent(1) == nope.extent(1) + rope.extent(1));
    let token = program_id(0);
    let slot = slots.load([token]);
    let latent = nope.load([token, arange(nope.extent(1))]);
    let row = latent.concatenate(rope.load([token, arange(rope.extent(1))]), 0);
    cache.store([slot, arange(nope.extent(1) + rope.extent(1))], row);
}

const GROUP: usize = 128;

/// Columns that share a scale.
#[kernel(grid = [out.extent(0)])]
pub(super) fn dequantize<T: Number>(out: &mut Tensor<T, 2>, src: &Tensor<F8E4M3, 2>, scales: &Tensor<f32, 2>) {
    require(out.extent(1) % GROUP == 0 && scales.extent(1) == out.extent(1) / GROUP && src.extent(1) == out.extent(1));
    let row = program_id(0);
    let (cols, groups) = (arange(out.extent(1)), comptime(out.extent(1)) / GROUP);
    let x = src.load([row, cols]).cast::<f32>().reshape([groups, GROUP]);
    let scale = scales.load([row, arange(groups)]);
    let wide = (x * scale.expand_dims(1)).cast::<T>();
    out.store([row, cols], wide.reshape([out.extent(1)]));
}

/// Rows divided by what is largest in each group of columns.
#[kernel(grid = [out.extent(0).min(src.extent(0))])]
pub(super) fn quantize<T: Float>(out: &mut Tensor<F8E4M3, 2>, scales: &mut Tensor<f32, 2>, src: &Tensor<T, 2>) {
    require(src.extent(1) % GROUP == 0 && scales.extent(1) == src.extent(1) / GROUP && out.extent(1) == src.extent(1));
    let row = program_id(0);
    let (cols, groups) = (arange(src.extent(1)), comptime(src.extent(1)) / GROUP);
    let x = src.load([row, cols]).cast::<f32>().reshape([groups, GROUP]);
    let scale = x.abs().max_axis(1).max(1e-10) / 448.0;
    scales.store([row, arange(groups)], scale);
    let quantized = (x / scale.expand_dims(1)).cast::<F8E4M3>();
    out.store([row, cols], quantized.reshape([src.extent(1)]));
}

/// The weighted sum of rows from all over.
#[kernel(grid = [out.extent(0).min(positions.extent(0))])]
pub(super) fn combine<T: Float>(
    out: &mut Tensor<T, 2>,
    x: &Tensor<T, 2>,
    positions: &Tensor<i32, 2>,
    weights: &Tensor<f32, 2>,
) {
    require(out.extent(1) == x.extent(1));
    require(weights.extent(0) == positions.extent(0) && weights.extent(1) == positions.extent(1));
    let token = program_id(0);
    let cols = arange(out.extent(1));
    let sum = (0..comptime(positions.extent(1))).fold(full([out.extent(1)], 0.0f32), |sum, j| {
        let from = positions.load([token, j]).cast::<i64>();
        let term = x.load([from, cols]).cast::<f32>() * weights.load([token, j]);
        select(from >= 0 && from < x.extent(0), sum + term, sum)
    });
    out.store([token, cols], sum.cast::<T>());
}

/// The two outer axes exchanged.
#[kernel(grid = [1])]
pub(super) fn permute<T: Element>(out: &mut Tensor<T, 3>, src: &Tensor<T, 3>) {
    let (i, j) = (arange(src.extent(0)), arange(src.extent(1)));
    let dim = arange(src.extent(2));
    let all = src
        .load([i.expand_dims(1).expand_dims(2), j.expand_dims(1), dim])
        .permute([1, 0, 2]);
    out.store([j.expand_dims(1).expand_dims(2), i.expand_dims(1), dim], all);
}

/// Rows that lie as their launch says.
#[kernel(grid = [out.extent(0)])]
pub(super) fn copy<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]));
}

/// Several rows of a program, those that there are.
#[kernel(grid = [cdiv(out.extent(0), 4)])]
pub(super) fn masked<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, rows: Count) {
    let row = (arange(4) + program_id(0) * 4).expand_dims(1);
    let there = row < rows;
    let cols = arange(out.extent(1));
    let value = src.load_where([row, cols], there);
    out.store_where([row, cols], value, there);
}

/// Rows from all over, some of which there are.
#[kernel(grid = [cdiv(out.extent(0), 4)])]
pub(super) fn guarded<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, index: &Tensor<i32, 1>) {
    let row = arange(4) + program_id(0) * 4;
    let from = index.load([row]).expand_dims(1);
    let cols = arange(out.extent(1));
    out.store([row.expand_dims(1), cols], src.load([from, cols]));
}

/// Short rows end to end, those that there are.
#[kernel(grid = [cdiv(ids.extent(0), 128)])]
pub(super) fn short<T: Element>(ids: &mut Tensor<T, 2>, rows: Count) {
    let row = (arange(128) + program_id(0) * 128).expand_dims(1);
    let cols = arange(ids.extent(1));
    ids.store_where([row, cols], zero::<T>(), row < rows);
}
