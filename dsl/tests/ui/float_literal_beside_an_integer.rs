use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i32, 1>, x: &Tensor<i32, 1>) {
    let i = arange(8);
    out.store([i], x.load([i]) * 2.5);
    out.store([i], x.load([i]).max(0.5));
    out.store([i], select(i < 4, x.load([i]), 0.5));
    out.store([0], 1.5);
}

fn main() {}
