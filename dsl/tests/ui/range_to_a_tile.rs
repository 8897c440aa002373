use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let i = arange(8);
    for j in 0..i {
        out.store([j], 0.0);
    }
}

fn main() {}
