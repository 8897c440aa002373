use float8::F8E4M3;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<F8E4M3, 1>, x: &Tensor<F8E4M3, 1>) {
    out.store([0], x.load([arange(8)]).sum_axis(0));
}

fn main() {}
