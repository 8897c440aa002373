use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [out.extent(0)])]
fn example(out: &mut Tensor<f32, 1>, layers: &TensorList<f32, 1>) {
    let i = arange(8);
    out.store([i], layers[i].load([i]));
}

fn main() {}
