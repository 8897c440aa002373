use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let i = arange(8);
    let inside = i > 2 && i < 6;
    out.store([i], select(inside, x.load([i]), 0.0));
}

fn main() {}
