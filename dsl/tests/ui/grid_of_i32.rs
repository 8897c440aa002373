use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [cdiv(n, 256)])]
fn example(out: &mut Tensor<f32, 1>, n: i32) {
    let at = program_id(0) * 256 + arange(256);
    out.store_where([at], 1.0, at < n);
}

fn main() {}
