use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i64, 1>, x: &Tensor<i64, 1>, y: &Tensor<i32, 1>) {
    let i = arange(8);
    out.store([i], cdiv(x.load([i]), y.load([i])));
    out.store([i], cdiv(x.load([i]), 0.5));
}

fn main() {}
