use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let value = x.load([0]);
    println!("{value:?}");
    assert!(value > 0.0);
    let zeros = vec![0.0; 8];
    dbg!(value);
    out.store([0], value);
}

fn main() {}
