use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let i = arange(8);
    let row = x.load([i]);
    out.store([i], row.take(0, row));
    out.store([i], row.take(0, i.expand_dims(0)));
}

fn main() {}
