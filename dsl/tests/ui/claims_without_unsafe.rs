use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i64, 1>, n: i64) {
    assume(n < 4);
    out.store([n.multiple_of(4)], 1);
}

fn main() {}
