use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>) {
    let mut x: f32 = 1.0;
    x += 1.0;
    let _ = format!("{:?}", x);
    out.store([0], x);
}

fn main() {}
