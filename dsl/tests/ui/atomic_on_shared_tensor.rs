use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(counts: &Tensor<i32, 1>) {
    counts.atomic_add([0], 1);
}

fn main() {}
