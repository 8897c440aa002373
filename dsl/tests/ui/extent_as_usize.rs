use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 2>, n: Count) {
    let columns: usize = x.extent(1);
    let rows: usize = n;
    let first: f32 = x.load([0, 0]).cast::<f64>();
    out.store([0], first);
}

fn main() {}
