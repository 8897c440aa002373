use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<bool, 1>) {
    let i = arange(8);
    out.store([i], (x.load([i]) + 1).cast::<f32>());
}

fn main() {}
