use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 1>, y: &Tensor<i32, 1>) {
    let (i, j) = (arange(8), arange(2));
    out.store([i.expand_dims(1), j], x.load([i]).join(y.load([i])));
}

fn main() {}
