use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, (a, b): (f32, f32)) {
    out.store([0], a + b);
}

fn main() {}
