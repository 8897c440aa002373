use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>) {
    let i = program_id(0);
    src.store([i], out.load([i]));
}

fn main() {}
