use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let cols = arange(16usize);
    if cols < 8 {
        out.store([cols], 1.0);
    }
}

fn main() {}
