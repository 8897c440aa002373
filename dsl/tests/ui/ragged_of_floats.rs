use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [requests.segments()])]
fn example(out: &mut Tensor<i64, 1>, requests: &Ragged<f32>) {
    let request = program_id(0);
    out.store([request], requests.rows(request));
}

fn main() {}
