use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

fn relu(x: Scalar<f32>) -> Scalar<f32> {
    if x < 0.0 { zero() } else { x }
}

fn same(x: Tile<i32, 1>, y: Tile<i32, 1>) -> Tile<bool, 1> {
    x == y
}

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    out.store([0], relu(x.load([0])));
}

fn main() {}
