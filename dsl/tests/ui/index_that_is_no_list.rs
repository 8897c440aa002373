use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>, y: &Tensor<f32, 2>) {
    let i = program_id(0);
    out.store(i, 0.0);
    out.store([i], x.load(i));
    out.store([i], x.load((i,)));
    out.store([i], y.load(i));
    out.atomic_add(i, 1.0);
    out.scatter(i, 1.0, Conflict::LastWins);
}

fn main() {}
