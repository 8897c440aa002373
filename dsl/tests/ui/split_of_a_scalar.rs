use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let (low, high) = x.load([program_id(0)]).split();
    out.store([0], low + high);
}

fn main() {}
