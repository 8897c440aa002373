use tilewright_dsl::lang::*;
use tilewright_dsl::{device, kernel};

#[device]
fn scaled(x: f32) -> Scalar<f32> {
    zero::<f32>() + x * 2.0
}

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    out.store([0], scaled(x.load([0])));
}

fn main() {}
