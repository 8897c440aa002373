use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let row = program_id(0);
    out[row] = 1.0;
    out[row] += 1.0;
}

fn main() {}
