use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i32, 1>, x: &Tensor<i32, 1>) {
    let i = arange(8);
    out.store([i], x.load([i]) + i);
}

fn main() {}
