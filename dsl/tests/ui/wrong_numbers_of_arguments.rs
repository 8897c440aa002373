use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let row = program_id();
    device_assert(row > 0);
    static_assert(true);
    out.store([row], 1.0);
}

fn main() {}
