use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
struct Example {
    out: Tensor<f32, 1>,
}

fn main() {}
