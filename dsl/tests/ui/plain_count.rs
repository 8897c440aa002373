use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(first: Count, second: Count, half: bool) {
    device_assert(first < second && half, "ordered");
}

fn main() {
    let n = 5usize;
    let _ = example(5, n, 0.5);
}
