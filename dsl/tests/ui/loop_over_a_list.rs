use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, layers: &TensorList<f32, 1>) {
    for layer in layers {
        out.store([0], layer.load([0]));
    }
}

fn main() {}
