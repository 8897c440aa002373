use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>, y: &Tensor<f32, 1>) {
    let i = arange(x.extent(0));
    let limit = y.load([0usize]);
    out.store([i], limit.min(x.load([i])));
}

fn main() {}
