use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [out.extent(0)])]
fn example(out: &mut Tensor<f32, 1>, layers: &TensorList<f32, 1>, which: f32) {
    out.store([0], layers[which].load([0]));
}

fn main() {}
