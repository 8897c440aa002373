use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<f32, 1>, n: Count) {
    'rows: for i in 0..n {
        for j in 0..n {
            if i == j {
                break 'rows;
            }
            out.store([j], 1.0);
        }
    }
}

fn main() {}
