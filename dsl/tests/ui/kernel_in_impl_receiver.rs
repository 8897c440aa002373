use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(&self, out: &mut Tensor<f32, 1>) {
    out.store([0], self.0);
}

fn main() {}
