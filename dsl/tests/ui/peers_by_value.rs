use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn example(buffers: PeerTensors<f32, 1>, epoch: Epoch) {
    let own = buffers.own().load([epoch.half()]);
}

fn main() {}
