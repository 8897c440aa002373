use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i64, 1>, x: &Tensor<f32, 1>) {
    let positive = x.load([arange(8)]) > 0.0;
    out.store([0], positive.sum_axis(0));
}

fn main() {}
