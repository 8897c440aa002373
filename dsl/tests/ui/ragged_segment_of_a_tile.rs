use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(rows: &mut Tensor<i64, 1>, owner: &Tensor<i32, 1>, weight: &Tensor<f32, 1>, requests: &Ragged<i32>) {
    let i = arange(8);
    rows.store([i], requests.rows(owner.load([i])));
    rows.store([0], requests.start(weight.load([0])));
}

fn main() {}
