use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i64, 1>, x: &Tensor<bool, 1>) {
    let (_, index) = x.load([arange(8)]).top_k(0, 2);
    out.store([arange(2)], index);
}

fn main() {}
