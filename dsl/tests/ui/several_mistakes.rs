use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1], bound = "zero")]
fn example(out: &mut Tensor<f32, 1>) {
    let mut x;
    for i in 0.. {
        out[i] = 1.0;
        return 2.0;
    }
}

fn main() {}
