use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<u32, 1>, src: &Tensor<u8, 1>) {
    let (value,) = unsafe { inline_ptx("mov.u32 %0, %1;", (src.load([0]),), |(v,): (u8,)| (v as u32,)) };
    out.store([0], value);
}

fn main() {}
