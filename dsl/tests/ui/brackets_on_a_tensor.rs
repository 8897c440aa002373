use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let tile = x.load([arange(8)]);
    out.store([0], x[0]);
    out.store([0], tile[program_id(0)]);
}

fn main() {}
