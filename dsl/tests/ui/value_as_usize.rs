use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<i32, 1>) {
    let at = x.load([0]) as usize;
    out.store([at], 1.0);
}

fn main() {}
