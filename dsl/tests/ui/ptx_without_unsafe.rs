use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<u32, 1>, x: &Tensor<u32, 1>) {
    let (value,) = inline_ptx("mov.u32 %0, %1;", (x.load([0]),), |(v,): (u32,)| (v,));
    let (lane,) = inline_ptx_on_gpu::<_, (u32,), 0>("add.u32 %0, %1, 1;", (value,));
    out.store([0], lane);
}

fn main() {}
