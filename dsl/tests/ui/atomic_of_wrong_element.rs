use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(counts: &mut Tensor<i32, 1>) {
    counts.atomic_add([0], 1.5);
}

fn main() {}
