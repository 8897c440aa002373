use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<bool, 1>, x: &Tensor<float8::F8E4M3, 1>) {
    let i = arange(8);
    out.store([i], x.load([i]) > 0.5);
}

fn main() {}
