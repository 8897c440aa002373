use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    out.store([0], x.load([arange(8)]).reduce_axis(0, |a, b| a > b));
}

fn main() {}
