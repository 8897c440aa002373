use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 2>) {
    let row = x.load([arange(4).expand_dims(1), arange(2)]);
    out.store([arange(8)], row.reshape(8));
}

fn main() {}
