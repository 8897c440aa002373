use std::cmp::max;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i64, 1>, x: &Tensor<i64, 1>, y: &Tensor<i64, 1>) {
    let i = arange(8);
    out.store([i], max(x.load([i]), y.load([i])));
}

fn main() {}
