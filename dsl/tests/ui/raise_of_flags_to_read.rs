use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(flags: &PeerTensors<u32, 2>) {
    flags.raise(0, 1u32);
}

fn main() {}
