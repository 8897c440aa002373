use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let x = Some(1.0)?;
    out.store([0], x);
}

fn main() {}
