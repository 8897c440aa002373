use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(src: &Tensor<f32, 1>) {
    device_print("{}", (src.load([arange(4)]),));
}

fn main() {}
