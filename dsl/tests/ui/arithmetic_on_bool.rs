use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(out: &mut Tensor<bool, 1>, flags: &Tensor<bool, 1>) {
    let row = program_id(0);
    let both = flags.load([row]) + flags.load([row + 1]);
    out.store([row], both);
}

fn main() {}
