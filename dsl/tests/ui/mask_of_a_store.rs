use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let i = arange(8);
    let mask = i < 4;
    out.store([i], x.load([i]), mask);
    out.store([i], x.load([i], mask));
    out.store([i], x.load([i], mask, 0.0));
    out.scatter([i], x.load([i]), mask, Conflict::LastWins);
    out.atomic_add([i], 1.0, mask);
}

fn main() {}
