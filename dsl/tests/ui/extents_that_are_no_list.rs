use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 1>) {
    let i = arange(8);
    let tile = x.load([i]).reshape(2, 4);
    out.store([i, i], tile);
}

fn main() {}
