use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [layers.len()])]
fn example(layers: &TensorList<f32, 1>) {
    layers[program_id(0)].store([0], 1.0);
}

fn main() {}
