use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example<'a>(out: &'a mut Tensor<f32, 1>, x: &'a Tensor<f32, 1>) {
    out.store([0], x.load([0]));
}

fn main() {}
