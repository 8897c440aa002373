use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [out.extent(0)])]
fn example(out: &mut Tensor<f32, 1>, layers: &[Tensor<f32, 1>]) {
    out.store([program_id(0)], layers[0].load([program_id(0)]));
}

fn main() {}
