use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, n: Count) {
    for i in 0..=n {
        out.store([i], 1.0);
    }
}

fn main() {}
