use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, n: Count, x: f32) {
    let y = if n > 4 { x } else { n };
    out.store([0], y);
}

fn main() {}
