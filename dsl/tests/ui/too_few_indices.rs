use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 2>) {
    let row = program_id(0);
    out.store([row], 1.0);
}

fn main() {}
