use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i32, 1>) {
    let i = arange(0, 8);
    out.store([i], 0);
}

fn main() {}
