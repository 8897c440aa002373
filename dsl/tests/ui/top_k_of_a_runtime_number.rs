use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>, k: f32) {
    let (best, _) = x.load([arange(8)]).top_k(0, k);
    out.store([arange(2)], best);
}

fn main() {}
