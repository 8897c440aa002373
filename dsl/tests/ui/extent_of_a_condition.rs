use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i64, 1>) {
    out.store([0], arange(true));
}

fn main() {}
