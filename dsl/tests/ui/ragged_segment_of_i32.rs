use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [owner.extent(0)])]
fn example(rows: &mut Tensor<i64, 1>, owner: &Tensor<i32, 1>, requests: &Ragged<i32>) {
    let token = program_id(0);
    rows.store([token], requests.rows(owner.load([token])));
}

fn main() {}
