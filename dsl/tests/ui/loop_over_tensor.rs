use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>) {
    for x in src {
        out.store([0], x);
    }
}

fn main() {}
