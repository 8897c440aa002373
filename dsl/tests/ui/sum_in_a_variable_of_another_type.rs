use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<half::bf16, 1>, x: &Tensor<half::bf16, 1>, n: Count) {
    let mut sum = 0.0;
    for i in 0..n {
        sum += x.load([i]);
    }
    let mut last: f32 = 0.0;
    last = n;
}

fn main() {}
