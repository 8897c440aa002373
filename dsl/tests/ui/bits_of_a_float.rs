use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let i = arange(x.extent(0));
    out.store([i], x.load([i]).count_ones());
}

fn main() {}
