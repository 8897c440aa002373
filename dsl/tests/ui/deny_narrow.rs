use tilewright_dsl::{device, kernel};
use tilewright_dsl::lang::*;

#[kernel(grid = [1], deny_narrow = true)]
fn example(out: &mut Tensor<f32, 1>) {
    out.store([0], 1.0);
}

#[device(deny_narrow)]
fn twice(x: Scalar<f32>) -> Scalar<f32> {
    x * 2.0
}

#[kernel(grid = [1], deny_narrow, deny_narrow)]
fn denied_twice(out: &mut Tensor<f32, 1>) {
    out.store([0], 1.0);
}

fn main() {}
