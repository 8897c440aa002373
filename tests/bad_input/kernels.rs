//! The kernels that mistakes are made with.

use tilewright::prelude::*;

/// `out[offset + i] = src[i]` for `i < rows`. A row of `src` is the tile.
#[kernel(grid = [rows])]
pub fn copy_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, offset: Count, rows: Count) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    out.store([offset + row, cols], src.load([row, cols]));
}

/// `out[i] = a[i] + b[i]`, rows as wide as those of `a` and of `b`.
#[kernel(grid = [out.extent(0)])]
pub fn add_rows(out: &mut Tensor<i32, 2>, a: &Tensor<i32, 2>, b: &Tensor<i32, 2>) {
    let row = program_id(0);
    let (cols_a, cols_b) = (arange(a.extent(1)), arange(b.extent(1)));
    let sum = a.load([row, cols_a]) + b.load([row, cols_b]); // The line that the error names.
    out.store([row, cols_a], sum);
}

/// [`copy_rows`] with a report of what does not fit.
#[kernel(grid = [src.extent(0)], bounds = "trap")]
pub fn copy_all_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    out.store([row, cols], src.load([row, cols])); // The line that the error names.
}

/// Nothing, on a grid of `x` by `y` programs.
#[kernel(grid = [x, y])]
pub fn nothing(x: Count, y: Count) {}

/// Where in this file a text first stands, as errors name it.
pub fn place_of(text: &str) -> String {
    let lines = include_str!("kernels.rs").lines();
    format!(
        "kernels.rs:{}:",
        1 + lines.take_while(|line| !line.contains(text)).count()
    )
}
