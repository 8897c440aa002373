use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i32, 1>, x: &Tensor<f32, 1>) {
    out.store([arange(4)], x.load([arange(8)]).histogram(4));
}

fn main() {}
