use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 2>) {
    out.store([arange(8)], x.load([0, ..]));
}

fn main() {}
