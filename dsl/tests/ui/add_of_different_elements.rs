use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, a: &Tensor<f32, 1>, b: &Tensor<i32, 1>) {
    let i = program_id(0);
    out.store([i], a.load([i]) + b.load([i]));
}

fn main() {}
