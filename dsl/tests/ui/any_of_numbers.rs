use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<bool, 1>, x: &Tensor<i32, 1>) {
    out.store([0], x.load([arange(8)]).any_axis(0));
}

fn main() {}
