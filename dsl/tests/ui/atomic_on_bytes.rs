use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(bytes: &mut Tensor<u8, 1>, half: &mut Tensor<half::f16, 1>, single: &mut Tensor<f32, 1>) {
    bytes.atomic_add([0], 1u8);
    half.atomic_max([0], half::f16::ONE);
    single.atomic_or([0], 1.0f32);
}

fn main() {}
