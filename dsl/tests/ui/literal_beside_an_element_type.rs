use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example<T: Element>(out: &mut Tensor<T, 1>, x: &Tensor<T, 1>) {
    let i = arange(8);
    out.store([i], x.load([i]) * 2.0);
}

fn main() {}
