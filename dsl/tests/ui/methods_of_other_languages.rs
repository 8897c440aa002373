use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let n = x.len();
    let shape = x.shape();
    for value in x.iter() {}
    let tile = x.load([arange(8)]);
    let total = tile.sum();
    let m = tile.len();
    out.store([0], tile.to(0).log() + total);
}

fn main() {}
