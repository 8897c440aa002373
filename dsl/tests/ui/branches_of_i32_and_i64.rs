use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<i32, 1>, n: Count) {
    let first = out.extent(0);
    let value = if n > 4 { first.cast::<i32>() } else { n };
    out.store([0], value);
}

fn main() {}
