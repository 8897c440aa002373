use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn one(out: &mut Tensor<f32, 1>) {
    out.store([0], 1.0);
}

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    one(out);
}

fn main() {}
