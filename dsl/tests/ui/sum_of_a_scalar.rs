use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [out.extent(0)])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let i = program_id(0);
    out.store([i], x.load([i]).sum_axis(0));
}

fn main() {}
