use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let cube = full([2, 2, 2], 1.0f32);
    let both = cube.join(cube);
    out.store([0], 1.0);
}

fn main() {}
