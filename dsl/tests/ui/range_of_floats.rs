use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: f32) {
    for i in 0..x {
        out.store([0], i);
    }
}

fn main() {}
