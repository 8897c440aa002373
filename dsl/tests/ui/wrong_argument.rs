use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, scale: f32) {
    out.store([0], scale);
}

fn main() {
    let _ = example(1.0f32, 2.0f64);
}
