use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>, index: &Tensor<i32, 1>) {
    let i = arange(8);
    out.store([i], x.load([i]).take(0, index.load([i])));
}

fn main() {}
