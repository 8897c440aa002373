use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, n: Count) {
    let mut total: f32 = 0.0;
    for i in 0..n {
        total = i;
    }
    out.store([0], total);
}

fn main() {}
