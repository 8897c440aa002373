use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, n: Count) {
    let total = 0.0;
    for i in 0..n {
        total = 1.0;
        out.store([i], total);
    }
}

fn main() {}
