use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example<T>(out: &mut Tensor<T, 1>, x: &Tensor<T, 1>) {
    out.store([0], x.load([0]));
}

fn main() {}
