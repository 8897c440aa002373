use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i32, 1>, x: &Tensor<i32, 1>) {
    let value = match x.load([0]) {
        0 => 1,
        1 | 2 => 2,
        _ => 3,
    };
    out.store([0], value);
    if let 0 = x.load([1]) {
        out.store([1], 1);
    }
}

fn main() {}
