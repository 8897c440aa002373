use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 2>) {
    let (i, j) = (arange(4), arange(8));
    out.store([j.expand_dims(1), i], x.load([i.expand_dims(1), j]).permute([0, 2, 1]));
}

fn main() {}
