use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [layers.len()])]
fn example(out: &mut Tensor<f32, 1>, layers: &TensorList<f32, 2>) {
    out.store([program_id(0)], layers[program_id(0)].load([0]));
}

fn main() {}
