use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, index: &Tensor<i32, 1>) {
    out.scatter([index.load([0])], 1.0);
}

fn main() {}
