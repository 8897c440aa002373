use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, #[comptime] mode: &'static str) {
    if !mode.is_empty() {
        out.store([0], 1.0);
    }
}

fn main() {}
