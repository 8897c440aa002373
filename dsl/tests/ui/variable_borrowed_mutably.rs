use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

fn double(_: &mut Scalar<f32>) {}

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let mut x: f32 = 1.0;
    double(&mut x);
    out.store([0], x);
}

fn main() {}
