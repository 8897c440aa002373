use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(x: &Tensor<f32, 1>) -> Scalar<f32> {
    x.load([0])
}

fn main() {
    let _ = example::definition();
}
