use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>, start: Count) {
    out.store([arange(4)], x.load([arange(8)]).slice(0, start, 4));
}

fn main() {}
