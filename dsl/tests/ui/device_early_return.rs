use tilewright_dsl::device;
use tilewright_dsl::lang::*;

#[device]
fn example(x: Scalar<f32>) -> Scalar<f32> {
    if x < 0.0 {
        return zero();
    }
    x
}

fn main() {}
